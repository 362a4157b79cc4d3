"""Sources in memory and views of them."""

import numpy as np
import pytest

from warmstart.errors import NoSuchTensor
from warmstart.source import DictSource, Source, View, as_source, filtered


@pytest.fixture
def source() -> DictSource:
    return DictSource(
        {"a": np.arange(3), "b": [[1.0, 2.0]], "c": np.float32(1)},
        roles={"a": "slot"},
        metadata={"run": "1"},
        aliases={"tied": "a"},
    )


def test_specs_of_what_is_in_memory(source: Source) -> None:
    assert {n: (str(s), s.role) for n, s in source.specs.items()} == {
        "a": ("int64 (3,)", "slot"),
        "b": ("float64 (1, 2)", None),
        "c": ("float32 ()", None),
    }


def test_reading(source: Source) -> None:
    with source:
        assert source.read("tied").tolist() == [0, 1, 2]
        assert source.read_slice("tied", slice(1, None)).tolist() == [1, 2]
        assert source.read_slice("b", (0, 1)).tolist() == 2.0
        assert list(source.read_all()) == list(source.read_order()) == ["a", "b", "c"]


def test_a_name_that_is_not_there(source: Source) -> None:
    with pytest.raises(NoSuchTensor, match=r"no tensor 'weight' among the 3$"):
        source.read("weight")


def test_near_names_are_told() -> None:
    source = DictSource({"fc/kernel": 1, "fc/bias": 1, "fc2/kernel": 1})
    message = "no tensor 'fc/kernal' among the 3; near it: 'fc/kernel', 'fc2/kernel'"
    with pytest.raises(NoSuchTensor, match=message):
        source.read("fc/kernal")


def test_a_source_that_says_nothing_of_itself() -> None:
    class Least(Source):
        specs = {}

        def read(self, name: str) -> np.ndarray:
            raise NotImplementedError

    least = Least()
    assert (dict(least.metadata), dict(least.aliases), least.read_all()) == ({}, {}, {})


def test_a_view_renames_and_leaves_out(source: Source) -> None:
    view = View(source, {"x": "a", "y": "a", "b": "b"})
    assert {n: (s.name, s.role) for n, s in view.specs.items()} == {
        "x": ("x", "slot"),
        "y": ("y", "slot"),
        "b": ("b", None),
    }
    assert view.read("x").tolist() == view.read("y").tolist() == [0, 1, 2]
    assert view.read_slice("x", 1).tolist() == 1
    assert view.metadata == {"run": "1"}
    with pytest.raises(NoSuchTensor, match="no tensor 'a' among the 3"):
        view.read("a")


def test_a_view_is_read_in_the_order_of_its_source(source: Source) -> None:
    assert list(View(source, {"z": "c", "y": "a", "x": "a"}).read_order()) == ["y", "x", "z"]


def test_aliases_follow_the_tensor_that_kept_its_name(source: Source) -> None:
    assert View(source, {"a": "a"}).aliases == {"tied": "a"}
    assert View(source, {"a": "a"}).read("tied").tolist() == [0, 1, 2]
    assert View(source, {"new": "a"}).aliases == {}
    assert View(source, {"a": "b", "b": "a"}).aliases == {}


def test_a_view_may_state_its_own_aliases_and_metadata(source: Source) -> None:
    view = View(source, {"new": "a"}, aliases={"other": "new"}, metadata={"k": "v"})
    assert view.read("other").tolist() == [0, 1, 2]
    assert view.metadata == {"k": "v"}


def test_closing_a_view_closes_its_source() -> None:
    closed = []

    class Closing(DictSource):
        def close(self) -> None:
            closed.append(self)

    source = Closing({"a": 1})
    with View(source, {}):
        assert closed == []
    assert closed == [source]


def test_filtered_by_spec(source: Source) -> None:
    assert list(filtered(source, lambda spec: spec.role != "slot").specs) == ["b", "c"]


def test_as_source(source: Source) -> None:
    assert as_source(source) is source
    assert as_source({"a": [1]}).read("a").tolist() == [1]


def test_the_dictionary_is_not_kept() -> None:
    arrays = {"a": np.ones(1)}
    source = DictSource(arrays)
    arrays["b"] = np.ones(1)
    assert list(source.specs) == ["a"]


def test_names_that_are_not_strings() -> None:
    with pytest.raises(TypeError, match="names of tensors are strings; found 5"):
        DictSource({5: np.zeros(1)})  # type: ignore[dict-item]


def test_a_value_that_is_no_array() -> None:
    with pytest.raises(TypeError, match=r"the value of 'w' is no array: .* inhomogeneous shape"):
        DictSource({"w": [[1.0], [1.0, 2.0]]})
