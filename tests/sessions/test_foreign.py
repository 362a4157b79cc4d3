"""Arrays of frameworks in the state of a callback, as a checkpoint carries them."""

import sys
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow as tf
import torch

from warmstart.errors import MissingDependency
from warmstart.sessions.foreign import given_back, taken
from warmstart.train.run_state import pack, unpack


def through_a_checkpoint(value: Any) -> Any:
    text, arrays = pack({"value": value})
    return unpack(text, arrays.__getitem__)["value"]


@pytest.mark.parametrize(
    "value",
    [
        torch.arange(3, dtype=torch.bfloat16),
        jax.numpy.arange(3, dtype="bfloat16"),
        tf.constant([1.5, 2.5]),
    ],
    ids=lambda value: type(value).__module__,
)
def test_an_array_of_a_framework_stays_one(value: Any) -> None:
    back = through_a_checkpoint({"a": [value]})["a"][0]
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    np.testing.assert_array_equal(taken(back)[1], taken(value)[1])


def test_a_random_key_of_jax_goes_on() -> None:
    key = jax.random.key(3, impl="rbg")
    back = through_a_checkpoint(key)
    assert jax.random.key_impl(back) == jax.random.key_impl(key)
    assert (jax.random.uniform(back, 4) == jax.random.uniform(key, 4)).all()


def test_arrays_of_numpy_and_others_are_not_taken() -> None:
    assert taken(np.ones(2)) is None
    assert taken("text") is None
    assert given_back("mxnet", np.ones(2)) is None


def test_a_framework_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingDependency, match="the state has an array of jax: pip install jax"):
        given_back("jax", np.ones(2))
