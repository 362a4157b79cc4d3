"""Pickles written without Python's own, loaded by it."""

import pickle
import pickletools
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary.pickle import Attributed, Call, Global, loads
from warmstart.binary.pickling import BATCH, New, Persistent, dumps
from warmstart.errors import CannotHold

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters())
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1), inner)
    ),
    max_leaves=20,
)
FLAT = st.frozensets(st.integers() | st.text()) | st.sets(st.text())


@given(PLAIN | FLAT)
def test_python_loads_what_was_written(value: Any) -> None:
    assert pickle.loads(dumps(value)) == value


@given(PLAIN)
def test_so_does_this_library(value: Any) -> None:
    assert loads(dumps(value)) == value


LIKE_PYTHON = {
    "text": "λ",
    "numbers": [0, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**31, 2**63, -(2**63), 1.5],
    "constants": (None, True, False),
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)],
    "one item": {"a": 1},
    "containers": [[], {}, [1], [[1, 2], {"a": 1, "b": []}]],
    "many": list(range(BATCH)),
    "bytes": b"\0\xff",
    "ordered": OrderedDict(a=1, b=2),
    "set": {"a"},
    "complex": 1 + 2j,
}


def as_node(value: Any) -> Any:
    return Attributed(value) if isinstance(value, OrderedDict) else value


@pytest.mark.parametrize("what", LIKE_PYTHON)
def test_the_opcodes_are_pythons(what: str) -> None:
    value = LIKE_PYTHON[what]
    theirs = pickletools.optimize(pickle.dumps(value, 2))
    assert pickletools.optimize(dumps(as_node(value))) == theirs


@pytest.mark.parametrize("n", [BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1])
def test_batches(n: int) -> None:
    value = [list(range(n)), dict.fromkeys(range(n))]
    assert pickle.loads(dumps(value)) == value


def test_the_order_in_memory_of_a_set_is_not_written() -> None:
    clashing = (0, 2**61 - 1)  # of one hash: the first put in comes first
    assert list({*clashing}) != list({*clashing[::-1]})
    assert dumps({*clashing}) == dumps({*clashing[::-1]})


def test_what_occurs_once_is_not_remembered() -> None:
    assert dumps({"a": "b"}) == b"\x80\x02}X\1\0\0\0aX\1\0\0\0bs."


def test_what_occurs_again_is() -> None:
    assert dumps(["a", "b", "a"]) == b"\x80\x02](X\1\0\0\0aq\0X\1\0\0\0bh\0e."


def test_more_than_a_byte_numbers() -> None:
    value = [f"{i}" for i in range(300)] * 2
    assert pickle.loads(dumps(value)) == value


def test_one_call_under_two_names_is_one_object() -> None:
    call = Call(Global("builtins", "bytearray"), ([1, 2],))
    found = pickle.loads(dumps([call, call, Call(Global("builtins", "bytearray"), ([1, 2],))]))
    assert found == [bytearray([1, 2])] * 3
    assert found[0] is found[1] is not found[2]


def test_a_call_with_all_there_is() -> None:
    ordered = Call(Global("collections", "OrderedDict"), items=[("a", 1)], state={"_metadata": 2})
    found = pickle.loads(dumps(ordered))
    assert (found, found._metadata) == (OrderedDict(a=1), 2)
    assert pickle.loads(dumps(Call(Global("builtins", "list"), appended=[1, 2]))) == [1, 2]


def test_an_attributed_dict_is_an_ordered_one() -> None:
    value = Attributed([("b", 1), ("a", 2)])
    value.set_state({"_metadata": {"": {"version": 1}}})
    found = pickle.loads(dumps(value))
    assert type(found) is OrderedDict
    assert list(found.items()) == [("b", 1), ("a", 2)]
    assert found._metadata == {"": {"version": 1}}


class Point:
    """A class whose objects are made of their state."""

    def __init__(self) -> None:
        raise AssertionError("it is not called")


def test_an_object_that_is_not_initialised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collections.Point", Point, raising=False)
    point = New(Global("collections", "Point"), state={"x": 1})
    first, second = pickle.loads(dumps([point, point]))
    assert first is second
    assert (type(first), first.x) == (Point, 1)


def test_modules_have_the_names_of_their_protocol() -> None:
    assert b"c__builtin__\nset\n" in dumps({1})


def test_what_the_reader_finds_itself() -> None:
    found: list[Any] = []
    loads(dumps(Persistent(("storage", "0"))), persistent=found.append)
    assert found == [("storage", "0")]


def test_a_value_that_is_not_plain() -> None:
    with pytest.raises(CannotHold, match="a object has no place in a pickle of plain values"):
        dumps([object()])


def test_an_integer_beyond_reason() -> None:
    with pytest.raises(CannotHold, match="an integer of 256 bytes has no place in a checkpoint"):
        dumps(2 ** (255 * 8))


def test_a_call_with_keywords() -> None:
    with pytest.raises(
        CannotHold, match=r"a call of builtins\.dict with keywords has no place in p"
    ):
        dumps(Call(Global("builtins", "dict"), (), {"a": 1}))


def test_values_too_deep_in_one_another() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CannotHold, match="a pickle cannot hold values that lie so deep in one an"):
        dumps(value)
