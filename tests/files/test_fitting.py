"""A graph of objects that speaks only of what was written with it."""

import numpy as np
import pytest

from warmstart.binary.wire import bytes_field, number_field
from warmstart.errors import CorruptCheckpoint
from warmstart.files.fitting import fitted, less
from warmstart.formats.tf_bundle.object_graph import (
    OBJECT_GRAPH,
    SUFFIX,
    Attribute,
    Node,
    ObjectGraph,
    Slot,
    without_keys,
)
from warmstart.source import DictSource, filtered


def child(name: str, node: int) -> bytes:
    return bytes_field(1, number_field(1, node) + bytes_field(2, name.encode()))


def value(key: str) -> bytes:
    texts = ((1, "VARIABLE_VALUE"), (2, key), (3, key + SUFFIX))
    return bytes_field(2, b"".join(bytes_field(n, text.encode()) for n, text in texts))


UNKNOWN = bytes_field(5, number_field(1, 1))
SLOT = bytes_field(3, number_field(1, 1) + bytes_field(2, b"m") + number_field(3, 2))
NODES = (child("w", 1) + child("w_m", 2) + UNKNOWN + SLOT, value("w"), value("m"))
GRAPH = b"".join(bytes_field(1, node) for node in NODES)


def source(graph: bytes) -> DictSource:
    arrays = {name + SUFFIX: np.float32(1) for name in ("w", "m")}
    return DictSource({**arrays, OBJECT_GRAPH: np.array(graph, object)})


def test_values_that_are_gone_are_out_of_the_graph_and_nothing_leads_to_them() -> None:
    kept = ObjectGraph(without_keys(GRAPH, {"m" + SUFFIX}))
    variable = Attribute("VARIABLE_VALUE", "w", "w" + SUFFIX)
    assert list(kept) == [Node({"w": 1}, (), ()), Node({}, (variable,), ()), Node({}, (), ())]
    assert ObjectGraph(GRAPH)[0].slots == (Slot(1, "m", 2),)


def test_what_this_library_does_not_know_is_kept() -> None:
    assert UNKNOWN in without_keys(GRAPH, {"m" + SUFFIX})
    assert without_keys(GRAPH, ()) == GRAPH


def test_a_source_that_lost_tensors_shows_such_a_graph() -> None:
    whole = source(GRAPH)
    part = filtered(whole, lambda spec: spec.name != "m" + SUFFIX)
    shown = fitted(part, whole)
    assert shown.read(OBJECT_GRAPH).item() == without_keys(GRAPH, {"m" + SUFFIX})
    assert shown.read("w" + SUFFIX) == 1


def test_a_source_that_lost_none_is_itself() -> None:
    whole = source(GRAPH)
    assert fitted(whole, whole) is whole


@pytest.mark.parametrize("odd", [np.array(b"\xff", object), np.array([b"", b""], object)])
def test_a_graph_that_means_nothing_stays(odd: np.ndarray) -> None:
    assert less(odd, {"m"}) is odd


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (number_field(1, 3), "field 1 is a number"),
        (number_field(2, 3), "a part of the graph is a number"),
        (bytes_field(1, number_field(4, 1)), "a part of an object is a number"),
    ],
)
def test_a_graph_of_other_fields_than_messages_is_refused(graph: bytes, words: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=words):
        without_keys(graph, ())
