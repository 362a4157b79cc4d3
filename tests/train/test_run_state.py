import random
from collections import Counter, deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import CorruptCheckpoint
from warmstart.train.run_state import pack, random_states, set_random_states, unpack

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
    | st.tuples(st.integers(), st.text(max_size=3))
)
keys = st.text("a#/%\0é", max_size=3)
trees = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


@given(trees)
def test_what_is_packed_is_unpacked_the_same(tree: dict[str, Any]) -> None:
    text, arrays = pack(tree)
    assert unpack(text, arrays.__getitem__) == tree


@given(st.lists(st.lists(st.sampled_from(["a", "b", "a/b", "%2F", "a%2Fb"]), min_size=1)))
def test_arrays_never_share_a_name(paths: list[list[str]]) -> None:
    tree: dict[str, Any] = {}
    for number, path in enumerate(paths):
        tree[f"{number}"] = {"/".join(path): np.array(number), path[0]: {"x": np.array(-number)}}
    _, arrays = pack(tree)
    values = [float(array) for array in arrays.values()]
    assert len(values) == sum(len(item) for item in tree.values())


def test_arrays_are_tensors_under_the_reserved_prefix() -> None:
    text, arrays = pack({"random": {"key": np.arange(3)}, "min/loss": {"best": np.array(1.0)}})
    assert list(arrays) == ["_RUN/random/key", "_RUN/min%2Floss/best"]
    assert text == (
        '{"random":{"key":{"#array":"_RUN/random/key"}},'
        '"min/loss":{"best":{"#array":"_RUN/min%2Floss/best"}}}'
    )


def test_an_array_is_copied_both_ways() -> None:
    array = np.zeros(2)
    text, arrays = pack({"a": array})
    back = unpack(text, arrays.__getitem__)
    array[0] = 1
    back["a"][1] = 1
    assert arrays["_RUN/a"].tolist() == [0, 0]


def test_numpy_scalars_that_are_python_numbers_become_such() -> None:
    assert pack({"a": np.float64(0.5), "b": np.int64(3)})[0] == '{"a":0.5,"b":3}'


def test_other_kinds_of_values_are_refused_by_path() -> None:
    with pytest.raises(TypeError, match="the state at 'callbacks/mine/0' is a object; a state"):
        pack({"callbacks": {"mine": [object()]}})


@pytest.mark.parametrize(
    "value",
    [
        {3: {"a": np.arange(3)}, (1, "b"): 2},
        {"#array": 1},
        {"#dict": {"#tuple": [1]}},
        deque([1, (2,)], 5),
        Counter({30: 2}),
        {1, 2, 3},
        np.float32(0.1),
    ],
    ids=repr,
)
def test_kinds_that_json_has_not_come_back_as_they_were(value: Any) -> None:
    text, arrays = pack({"a": value})
    back = unpack(text, arrays.__getitem__)["a"]
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_arrays_of_a_framework_come_back_as_such() -> None:
    import torch

    tensors = {0: torch.arange(3), 1: torch.ones(2, dtype=torch.bfloat16)}
    text, arrays = pack({"state": tensors})
    back = unpack(text, arrays.__getitem__)["state"]
    assert all(torch.equal(back[i], tensors[i]) for i in tensors)
    assert back[1].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the run state is not JSON"),
        ("[" * 100_000, "the run state is not JSON"),
        ('{"a": {"#bytes": "?"}}', "the run state is not JSON"),
        ('{"a": {"#deque": 3}}', "the run state is not JSON"),
        ('{"a": {"#tensor": ["x", "y"]}}', "the run state is not JSON"),
        ('{"a": {"#dict": [[[]], [1]]}}', "the run state is not one: unhashable"),
        ("[]", "the run state is a JSON list, not an object"),
    ],
    ids=["cut", "deep", "bytes", "deque", "tensor", "keys", "list"],
)
def test_a_damaged_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        unpack(text, {"y": np.zeros(1)}.__getitem__)


def test_global_random_generators_go_on_where_they_were() -> None:
    random.gauss(0, 1)
    np.random.standard_normal()  # each keeps a second normal number for later
    text, arrays = pack(random_states())
    expected = random.gauss(0, 1), random.random(), np.random.standard_normal(3).tolist()
    set_random_states(unpack(text, arrays.__getitem__))
    assert (random.gauss(0, 1), random.random(), np.random.standard_normal(3).tolist()) == expected
