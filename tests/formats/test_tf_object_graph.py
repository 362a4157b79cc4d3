"""The graph of objects in a TensorFlow 2 checkpoint: names, roles, and graphs that are wrong."""

import json
import logging
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart import NoSuchTensor
from warmstart import open as open_checkpoint
from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import CheckpointError, CorruptCheckpoint
from warmstart.files.variables import save_vars
from warmstart.files.verify import verify
from warmstart.formats.tf_bundle import object_graph
from warmstart.formats.tf_bundle.object_graph import (
    OBJECT_GRAPH,
    SUFFIX,
    ObjectGraph,
    parse_node,
    without_keys,
)
from warmstart.formats.tf_bundle.objects import objects_of

GOLDEN = Path(__file__).parents[1] / "golden" / "tf_objects"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


def child(name: str, node: int) -> bytes:
    return bytes_field(1, number_field(1, node) + bytes_field(2, name.encode()))


def value(key: str, own_name: str = "", name: str = "VARIABLE_VALUE") -> bytes:
    fields = ((1, name), (2, own_name), (3, key))
    return bytes_field(2, b"".join(bytes_field(n, text.encode()) for n, text in fields))


def slot(variable: int, name: str, node: int) -> bytes:
    message = number_field(1, variable) + bytes_field(2, name.encode()) + number_field(3, node)
    return bytes_field(3, message)


def graph(*nodes: bytes) -> bytes:
    return b"".join(bytes_field(1, node) for node in nodes)


def save(folder: Path, data: bytes, *paths: str, **others: object) -> Path:
    """Save a checkpoint with the graph *data*; each of *paths* is a variable, by its number."""
    arrays = {path + SUFFIX: np.float32(n) for n, path in enumerate(paths)}
    save_vars({**arrays, **others, OBJECT_GRAPH: np.array(data, object)}, folder / "m")
    return folder / "m"


def of_variables(*named: tuple[str, str]) -> bytes:
    """Return the graph of variables below the root: (path, own name)."""
    root = b"".join(child(path, n) for n, (path, _) in enumerate(named, 1))
    return graph(root, *(value(path + SUFFIX, own) for path, own in named))


@pytest.mark.parametrize("prefix", EXPECTED)
def test_golden_values_are_read_under_keys_and_other_names(prefix: str) -> None:
    with open_checkpoint(GOLDEN / prefix) as source:
        for key, expected in EXPECTED[prefix]["values"].items():
            assert source.read(key).tolist() == expected
        for alias, key in source.aliases.items():
            assert source.read(alias).tolist() == EXPECTED[prefix]["values"][key]
        values = EXPECTED[prefix]["values"].keys()
        assert set(source.aliases.values()) == values == source.specs.keys() - {OBJECT_GRAPH}


@pytest.mark.parametrize("prefix", EXPECTED)
def test_golden_variables_go_by_their_own_names(prefix: str) -> None:
    with open_checkpoint(GOLDEN / prefix) as source:
        plain = {k: spec for k, spec in source.specs.items() if spec.role != "slot"}
        own = {
            own_name: key
            for key, own_name in EXPECTED[prefix]["own_names"].items()
            if key in plain and not key.startswith("_all_variables/")
        }
        assert own.items() <= source.aliases.items()


@pytest.mark.parametrize(
    ("prefix", "variable", "slots"),
    [
        ("keras2-weights", "d1/kernel", {"m", "v"}),
        ("keras2-legacy-1", "d1/kernel", {"m", "v"}),
        ("keras3-1", "sequential/d1/kernel", {"momentum", "velocity"}),
    ],
)
def test_golden_slots_go_by_the_names_of_their_variables(
    prefix: str, variable: str, slots: set[str]
) -> None:
    with open_checkpoint(GOLDEN / prefix) as source:
        roles = {alias: source.specs[key].role for alias, key in source.aliases.items()}
        found = {alias for alias in roles if alias.startswith(variable + "/")}
        assert found == {f"{variable}/{name}" for name in slots}
        assert {roles[alias] for alias in found} == {"slot"}
        assert roles[variable] is None
        trained = sum(role == "slot" for role in roles.values())
        assert trained == 12  # two for each of six trained variables; none of moving statistics


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("keras2-weights", "iteration"),
        ("keras2-legacy-1", "Adam/beta_1"),
        ("keras3-1", "adam/learning_rate"),
        ("keras3-1", "save_counter"),
    ],
)
def test_golden_counters_and_settings_are_run_state(prefix: str, name: str) -> None:
    with open_checkpoint(GOLDEN / prefix) as source:
        assert source.specs[source.aliases[name]].role == "run"


def test_an_export_of_keras_3_has_each_variable_twice_and_its_name_once() -> None:
    with open_checkpoint(GOLDEN / "keras3-export") as source:
        assert source.aliases["sequential/d1/kernel"] == "variables/0" + SUFFIX
        assert source.aliases["_all_variables/0"] == "_all_variables/0" + SUFFIX


def test_copies_that_differ_share_no_name(tmp_path: Path) -> None:
    data = of_variables(("variables/0", "w"), ("_all_variables/0", "w"))
    with open_checkpoint(save(tmp_path, data, "variables/0", "_all_variables/0")) as source:
        assert "w" not in source.aliases


def test_an_own_name_of_several_variables_is_nobodys(tmp_path: Path) -> None:
    data = of_variables(("a/w", "kernel"), ("b/w", "kernel"), ("c", "bias"))
    with open_checkpoint(save(tmp_path, data, "a/w", "b/w", "c")) as source:
        assert source.aliases == {
            "a/w": "a/w" + SUFFIX,
            "b/w": "b/w" + SUFFIX,
            "bias": "c" + SUFFIX,
        }
        with pytest.raises(NoSuchTensor, match=r"'kernel' is the own name of 2 variables, .*'a/w/"):
            source.read("kernel")
        with pytest.raises(NoSuchTensor, match="there is no tensor 'kernels'"):
            source.read("kernels")


def test_an_own_name_that_is_a_key_is_nobodys(tmp_path: Path) -> None:
    data = of_variables(("a", "w"))
    with open_checkpoint(save(tmp_path, data, "a", w=np.float32(9))) as source:
        assert source.aliases == {"a": "a" + SUFFIX}
        assert source.read("w") == 9


def test_an_own_name_goes_before_a_path(tmp_path: Path) -> None:
    data = of_variables(("a", "b"), ("b", ""), ("c", ":0"))
    with open_checkpoint(save(tmp_path, data, "a", "b", "c")) as source:
        assert source.aliases == {"b": "a" + SUFFIX, "c": "c" + SUFFIX}


def test_two_slots_of_one_name_go_by_their_paths(tmp_path: Path) -> None:
    data = graph(
        child("w", 1) + child("x", 2) + child("y", 3),
        value("w" + SUFFIX, "w"),
        slot(1, "m", 4),
        slot(1, "m", 5),
        value("w/.OPTIMIZER_SLOT/x/m" + SUFFIX, "w/Momentum"),
        value("w/.OPTIMIZER_SLOT/y/m" + SUFFIX, "elsewhere"),
    )
    paths = ("w", "w/.OPTIMIZER_SLOT/x/m", "w/.OPTIMIZER_SLOT/y/m")
    with open_checkpoint(save(tmp_path, data, *paths)) as source:
        names = {alias: source.specs[key].role for alias, key in source.aliases.items()}
        assert names == {"w": None, "w/Momentum": "slot", "w/m": "slot"}
    twice = data.replace(b"w/Momentum", b"elsewhere_")
    with open_checkpoint(save(tmp_path, twice, *paths)) as source:
        assert set(source.aliases) == set(paths)


def test_a_slot_of_a_variable_that_was_not_saved(tmp_path: Path) -> None:
    data = graph(child("o", 1), slot(2, "m", 3), b"", value("m" + SUFFIX, "w/m"))
    with open_checkpoint(save(tmp_path, data, "m")) as source:
        assert source.specs["m" + SUFFIX].role == "slot"
        assert source.aliases == {"w/m": "m" + SUFFIX}


def test_powers_of_beta_are_slots(tmp_path: Path) -> None:
    data = graph(
        child("o", 1),
        child("beta1_power", 2) + child("other", 3) + slot(4, "m", 5),
        value("o/beta1_power" + SUFFIX),
        value("o/other" + SUFFIX),
        value("w" + SUFFIX),
        value("m" + SUFFIX),
    )
    with open_checkpoint(save(tmp_path, data, "o/beta1_power", "o/other", "w", "m")) as source:
        roles = {key.removesuffix(SUFFIX): spec.role for key, spec in source.specs.items()}
    assert roles == {
        "o/beta1_power": "slot", "o/other": "run", "w": None, "m": "slot", OBJECT_GRAPH: "run",
    }  # fmt: skip


def test_a_list_of_keras_3_without_telling_names(tmp_path: Path) -> None:
    data = graph(
        child("o", 1),
        child("_iterations", 2) + child("_variables", 3)
        + child("_trainable_variables", 4) + child("_ms", 5),
        value("i" + SUFFIX),
        child("0", 2) + child("1", 6) + child("2", 8),
        child("0", 7),
        child("0", 6),
        value("m" + SUFFIX, "slot"),
        value("w" + SUFFIX, "w"),
        value("odd" + SUFFIX, "rest"),
    )  # fmt: skip
    with open_checkpoint(save(tmp_path, data, "i", "m", "w", "odd")) as source:
        names = {alias: source.specs[key].role for alias, key in source.aliases.items()}
    assert names == {"i": "run", "w/ms": "slot", "w": None, "rest": "slot"}


def test_objects_in_a_circle(tmp_path: Path) -> None:
    data = graph(
        child("a", 1), child("b", 2), child("a", 1) + child("root", 0) + child("w", 3), b""
    )
    assert ObjectGraph(data).ways == {1: (0, "a"), 2: (1, "b"), 3: (2, "w")}
    with open_checkpoint(save(tmp_path, data, "w")) as source:
        assert list(source.faults()) == []


#: What is wrong with a graph -> its bytes, and the words for it.
BROKEN = {
    # would look up a slot's variable beyond the list
    "a slot of nothing": (graph(slot(0, "m", 7)), "object 0 refers to object 7, but there are 1"),
    "a child of nothing": (graph(b"", child("a", 2)), "object 1 refers to object 2, but there ar"),
    # -1 as a Python index is the last object
    "a negative child": (graph(child("a", 2**64 - 1)), "refers to object 18446744073709551615"),
    "no message": (b"\xff", "a number is cut off"),
    "a message cut off": (graph(b"\x0a\x7f"), "field 1 claims 127 bytes, where 0 are left"),
    "a name that is no text": (graph(value("w").replace(b"w", b"\xff")), "field 3 .* not UTF-8"),
    "a child that is a number": (graph(b"\x08\x01"), "a child is a number where bytes are exp"),
    "an object that is text": (graph(bytes_field(1, bytes_field(1, b"x"))), "the number of an obj"),
    "a slot that is text": (graph(bytes_field(3, bytes_field(3, b"x"))), "the number of an object"),
    "a name that is a number": (graph(bytes_field(1, number_field(2, 9))), "field 2 is a number"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_graph_leaves_the_values_and_is_named(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, words = BROKEN[what]
    path = save(tmp_path, data, "w")
    with caplog.at_level(logging.WARNING, "warmstart"), open_checkpoint(path) as source:
        assert source.read("w" + SUFFIX) == 0
        assert source.aliases == {}
        assert source.specs["w" + SUFFIX].role is None
    (record,) = caplog.records
    assert "so variables have only their keys" in record.getMessage()
    assert f"in tensor {OBJECT_GRAPH!r}" in record.getMessage()
    (fault,) = verify(path).faults
    assert fault.name == ""
    with pytest.raises(CorruptCheckpoint, match=words):
        list(ObjectGraph(data))


def test_a_graph_that_is_no_string(tmp_path: Path) -> None:
    save_vars({OBJECT_GRAPH: np.float32(1), "w": np.float32(2)}, tmp_path / "m")
    with open_checkpoint(tmp_path / "m") as source:
        assert source.read("w") == 2
        (fault,) = source.faults()
    assert "it is not one string, as it should be" in fault


def test_a_graph_too_large_to_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, of_variables(("w", "own")), "w")
    monkeypatch.setattr(object_graph, "MAX_NBYTES", 40)
    with open_checkpoint(path) as source:
        (fault,) = source.faults()
        assert source.read("w" + SUFFIX) == 0
    assert "the graph takes 64 bytes; up to 40 are looked into" in fault


def test_an_empty_graph(tmp_path: Path) -> None:
    with open_checkpoint(save(tmp_path, b"", "w")) as source:
        assert (dict(source.aliases), list(source.faults())) == ({}, [])


def test_of_two_children_with_one_name_the_last_counts() -> None:
    assert parse_node(child("a", 1) + child("a", 2)).children == {"a": 2}


def test_two_variables_of_one_key_are_one(tmp_path: Path) -> None:
    data = graph(child("a", 1) + child("b", 2), value("w" + SUFFIX, "x"), value("w" + SUFFIX, "y"))
    with open_checkpoint(save(tmp_path, data, "w")) as source:
        assert source.aliases == {"x": "w" + SUFFIX}


#: Graphs that are all of one thing: they would take far more memory than the file, or a walk
#: without an end, were all objects kept, paths written out or circles followed.
MANY = 6_000
HOSTILE = {
    "empty objects": graph(b"") * MANY,
    "one object with many children": graph(b"".join(child("a", 0) for _ in range(MANY))),
    "a chain": graph(*(child("a", n + 1) for n in range(MANY // 4)), b""),
    "slots of one variable": graph(slot(0, "m", 0) * MANY + value("w" + SUFFIX, "w")),
    "optimizers": graph(*[slot(0, "m", 0)] * MANY),
    "one key": graph(*[value("w" + SUFFIX, "w")] * (MANY // 4)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_memory_stays_within_a_small_multiple_of_the_graph(what: str, tmp_path: Path) -> None:
    path = save(tmp_path, HOSTILE[what], "w")
    tracemalloc.start()
    with open_checkpoint(path) as source:
        assert source.read("w" + SUFFIX) == 0
        assert source.specs["w" + SUFFIX].shape == ()
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(HOSTILE[what]) + 300_000


def test_ways_around_an_optimizer_are_not_written_out_where_they_are_long() -> None:
    # each variable lies below the one before: all paths together grow with the square of the graph
    keys = [f"_trainable_variables/{n}" + SUFFIX for n in range(MANY)]
    nodes = (child("a", n + 2) + value(key) for n, key in enumerate(keys))
    data = graph(child("a", 1), *nodes, b"")
    tracemalloc.start()
    found = objects_of(data, set(keys), lambda _: False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(data)
    assert found.aliases["a/a"] == keys[1]
    assert found.aliases[f"_trainable_variables/{MANY - 1}"] == keys[-1]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_refused(data: bytes) -> None:
    with suppress(CheckpointError):
        objects_of(data, {"w" + SUFFIX}, lambda _: True)
    with suppress(CheckpointError):
        without_keys(data, {"w" + SUFFIX})


@given(st.sampled_from(list(EXPECTED)), st.data())
def test_a_changed_byte_is_read_or_refused(prefix: str, draws: st.DataObject) -> None:
    with open_checkpoint(GOLDEN / prefix) as source:
        data, names = bytearray(source.read(OBJECT_GRAPH).item()), set(source.specs)
    place = draws.draw(st.integers(0, len(data) - 1))
    data[place] = draws.draw(st.integers(0, 255))
    with suppress(CheckpointError):
        found = objects_of(bytes(data), names, lambda _: False)
        assert names >= set(found.aliases.values())
        assert names.isdisjoint(found.aliases)
