"""The memory that a state is copied into."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from warmstart.binary import same
from warmstart.errors import SaveError
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.train.staging import LARGE, Staging

FIRST: dict[str, Any] = {
    "small": np.arange(5.0),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 4)),
    "large": np.arange(400_000.0).reshape(1000, 400),
    "transposed": np.arange(12.0).reshape(3, 4).T,
    "big-endian": np.arange(9, dtype=">f4"),
    "bfloat16": np.arange(100).astype(ml_dtypes.bfloat16),
    "text": np.array([b"a", "b"], object),
    "bool": np.array([True, False]),
}


def taken(staging: Staging, arrays: dict[str, Any]) -> set[str]:
    """Take *arrays*, check that the copy is one, and return what is unchanged."""
    staged, unchanged = staging.take(DictSource(arrays))
    found = {name: staged.read(name) for name in staged.specs}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert not np.shares_memory(found[name], array)
        np.testing.assert_array_equal(found[name], array)
    return unchanged


def test_what_has_not_changed_is_told() -> None:
    staging = Staging()
    staging.make_room(DictSource(FIRST).specs)
    taken(staging, FIRST)
    assert taken(staging, FIRST) == FIRST.keys() - {"text"}
    assert FIRST["large"].nbytes > LARGE


@pytest.mark.parametrize("name", ["small", "scalar", "large", "transposed", "bfloat16", "bool"])
@pytest.mark.parametrize("place", [0, -1])
def test_one_changed_number_is_seen(name: str, place: int) -> None:
    staging, changed = Staging(), {n: np.array(a) for n, a in FIRST.items()}
    taken(staging, FIRST)
    flat = changed[name].flat
    flat[place] = flat[place] == 0
    assert taken(staging, changed) == FIRST.keys() - {"text", name}
    assert taken(staging, changed) == FIRST.keys() - {"text"}


def test_other_shapes_dtypes_and_names_are_new() -> None:
    staging = Staging()
    taken(staging, {"a": np.zeros(6), "b": np.zeros(2, np.int64), "c": np.ones(3)})
    other = {"a": np.zeros((2, 3)), "b": np.zeros(2), "d": np.ones(3)}
    assert taken(staging, other) == set()
    assert taken(staging, {**other, "c": np.ones(3)}) == other.keys()


def test_what_is_loaded_counts_as_taken() -> None:
    staging = Staging()
    staging.load(DictSource({**FIRST, "gone": np.ones(3)}))
    assert taken(staging, FIRST) == FIRST.keys() - {"text"}


def test_a_staged_source_says_what_the_other_says() -> None:
    source = DictSource(
        {"w": np.ones(3)}, roles={"w": "slot"}, aliases={"tied": "w"}, metadata={"a": "b"}
    )
    staged, _ = Staging().take(source)
    assert (dict(staged.specs), dict(staged.aliases)) == (dict(source.specs), {"tied": "w"})
    assert dict(staged.metadata) == {"a": "b"}
    np.testing.assert_array_equal(staged.read("tied"), np.ones(3))


class Lying(DictSource):
    """A source whose values are not what it says."""

    def __init__(self) -> None:
        super().__init__({"w": np.ones(3)})
        self._specs = {"w": TensorSpec("w", "float32", (3,))}


def test_values_that_are_not_as_they_were_said_to_be() -> None:
    with pytest.raises(SaveError, match=r"'w' was to be float32 \(3,\), but the values are float6"):
        Staging().take(Lying())


def test_bytes_are_compared_without_the_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same, "c_function", lambda *_: None)
    test_what_has_not_changed_is_told()
    test_one_changed_number_is_seen("large", -1)


@pytest.mark.parametrize("place", [0, 2_000_000, 6_000_000, -1])
def test_large_buffers_are_compared_by_two_threads(place: int) -> None:
    first = np.zeros(9_000_001, np.uint8)
    second = first.copy()
    with ThreadPoolExecutor(1) as other:
        assert same.same_bytes(first, second, other)
        second[place] = 1
        assert not same.same_bytes(first, second, other)
