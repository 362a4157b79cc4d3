"""Pickles written without Python's own: protocol 2, as PyTorch writes, the same bytes each time.

    dumps({"epoch": 3, "size": Call(Global("torch", "Size"), ((2, 3),))})

Plain values, and the nodes that `pickle` reads names and calls as.  Text, names and calls that
occur again are taken from the memo; whatever occurs once is not remembered, so that the pickle is
as small as after `pickletools.optimize`.
Source: CPython 3.11, Lib/pickle.py and Lib/pickletools.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from struct import pack
from typing import Any

from ..errors import CannotHold
from .pickle.nodes import Attributed, Call, Global

#: Items set or appended at a time, as Python does it.
BATCH = 1000

#: What modules are called in protocols below 3.
OLD_NAMES = {"builtins": "__builtin__", "copyreg": "copy_reg"}

ENCODE = Global("_codecs", "encode")
COMPLEX = Global("builtins", "complex")
SETS = {set: Global("builtins", "set"), frozenset: Global("builtins", "frozenset")}
ORDERED = Global("collections", "OrderedDict")


@dataclass(frozen=True, slots=True)
class Persistent:
    """What the reader of the pickle finds by itself: PyTorch's storages."""

    identity: Any


@dataclass(eq=False, slots=True)
class New:
    """An object of a class whose `__init__` is not called; `state` is what it is made of."""

    cls: Global
    args: tuple[Any, ...] = ()
    state: Any = None


def dumps(value: Any) -> bytes:
    """Return the pickle of *value*; what has no place in one is refused."""
    pickle = Pickle()
    try:
        pickle.put(value)
    except RecursionError as error:
        raise CannotHold("a pickle cannot hold values that lie so deep in one another") from error
    return pickle.finish()


class Pickle:
    """A pickle in the making: a program for a stack, which each `put` leaves one value on."""

    def __init__(self) -> None:
        self._out = [b"\x80\x02"]
        self._places: dict[Any, int] = {}  # of what may occur again: where it ends in `_out`
        self._memo: dict[Any, int] = {}  # of what did: its number

    def put(self, value: Any) -> None:
        """Append what makes *value*."""
        emit = EMITTERS.get(type(value))
        if emit is None:
            raise CannotHold(f"a {type(value).__name__} has no place in a pickle of plain values")
        emit(self, value)

    def finish(self) -> bytes:
        """Return the whole pickle."""
        return b"".join((*self._out, b"."))

    def code(self, data: bytes) -> None:
        """Append opcodes."""
        self._out.append(data)

    def recalled(self, key: Any) -> bool:
        """Append what recalls the value that `remember` was told of; False if there is none."""
        place = self._places.get(key)
        if place is None:
            return False
        number = self._memo.get(key)
        if number is None:
            number = self._memo[key] = len(self._memo)
            self._out[place] = numbered(b"q", b"r", number)
        self._out.append(numbered(b"h", b"j", number))
        return True

    def remember(self, key: Any) -> None:
        """Leave room to put the value just made in the memo, should it occur again."""
        self._places[key] = len(self._out)
        self._out.append(b"")

    def items(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Append what sets *pairs* on the dict that is uppermost."""
        pairs = list(pairs)
        for at in range(0, len(pairs), BATCH):
            batch = pairs[at : at + BATCH]
            single = len(batch) == 1
            self.code(b"" if single else b"(")
            for key, item in batch:
                self.put(key)
                self.put(item)
            self.code(b"s" if single else b"u")

    def appended(self, values: Iterable[Any]) -> None:
        """Append what appends *values* to the list that is uppermost."""
        values = list(values)
        for at in range(0, len(values), BATCH):
            batch = values[at : at + BATCH]
            single = len(batch) == 1
            self.code(b"" if single else b"(")
            for value in batch:
                self.put(value)
            self.code(b"a" if single else b"e")


def numbered(short: bytes, long: bytes, number: int) -> bytes:
    """Return an opcode with its memo *number*, which in the *short* form takes a byte."""
    return short + bytes((number,)) if number < 256 else long + pack("<I", number)


def put_none(pickle: Pickle, value: None) -> None:
    pickle.code(b"N")


def put_bool(pickle: Pickle, value: bool) -> None:
    pickle.code(b"\x88" if value else b"\x89")


def put_int(pickle: Pickle, value: int) -> None:
    pickle.code(int_code(value))


def int_code(value: int) -> bytes:
    """Return what makes an integer of any size."""
    if 0 <= value < 256:
        return b"K" + bytes((value,))
    if 0 <= value < 65536:
        return b"M" + pack("<H", value)
    if -(2**31) <= value < 2**31:
        return b"J" + pack("<i", value)
    nbytes = (value + (value < 0)).bit_length() // 8 + 1  # a sign bit more than the digits take
    if nbytes > 255:
        raise CannotHold(f"an integer of {nbytes} bytes has no place in a checkpoint")
    return b"\x8a" + bytes((nbytes,)) + value.to_bytes(nbytes, "little", signed=True)


def put_float(pickle: Pickle, value: float) -> None:
    pickle.code(b"G" + pack(">d", value))


def put_text(pickle: Pickle, value: str) -> None:
    if not pickle.recalled(value):
        raw = value.encode("utf-8", "surrogatepass")
        pickle.code(b"X" + pack("<I", len(raw)) + raw)
        pickle.remember(value)


def put_bytes(pickle: Pickle, value: bytes) -> None:
    """Protocol 2 has no bytes: they are text, encoded."""
    pickle.put(Call(ENCODE, (value.decode("latin-1"), "latin1")))


def put_complex(pickle: Pickle, value: complex) -> None:
    pickle.put(Call(COMPLEX, (value.real, value.imag)))


def put_tuple(pickle: Pickle, value: tuple[Any, ...]) -> None:
    short = len(value) < 4
    pickle.code(b"" if short else b"(")
    for item in value:
        pickle.put(item)
    pickle.code((b")", b"\x85", b"\x86", b"\x87")[len(value)] if short else b"t")


def put_list(pickle: Pickle, value: list[Any]) -> None:
    pickle.code(b"]")
    pickle.appended(value)


def put_dict(pickle: Pickle, value: Mapping[Any, Any]) -> None:
    pickle.code(b"}")
    pickle.items(value.items())


def put_ordered(pickle: Pickle, value: Attributed) -> None:
    """A dict with attributes; of the classes that has, the ordered one is known everywhere."""
    pickle.put(Call(ORDERED, items=list(value.items()), state=value.state))


def put_set(pickle: Pickle, value: set[Any] | frozenset[Any]) -> None:
    """The items sorted: their order in memory differs from one process to the next."""
    items = sorted(value, key=lambda item: (type(item).__name__, repr(item)))
    pickle.put(Call(SETS[type(value)], (items,)))


def put_global(pickle: Pickle, value: Global) -> None:
    if not pickle.recalled(value):
        module = OLD_NAMES.get(value.module, value.module)
        pickle.code(f"c{module}\n{value.name}\n".encode())
        pickle.remember(value)


def put_call(pickle: Pickle, value: Call) -> None:
    if pickle.recalled(value):
        return
    if value.kwargs:
        raise CannotHold(f"a call of {value.function} with keywords has no place in protocol 2")
    pickle.put(value.function)
    pickle.put(value.args)
    pickle.code(b"R")
    pickle.remember(value)
    pickle.appended(value.appended)
    pickle.items(value.items)
    put_state(pickle, value.state)


def put_new(pickle: Pickle, value: New) -> None:
    if pickle.recalled(value):
        return
    pickle.put(value.cls)
    pickle.put(value.args)
    pickle.code(b"\x81")
    pickle.remember(value)
    put_state(pickle, value.state)


def put_state(pickle: Pickle, state: Any) -> None:
    """Append what sets *state* on the object that is uppermost; None is no state."""
    if state is not None:
        pickle.put(state)
        pickle.code(b"b")


def put_persistent(pickle: Pickle, value: Persistent) -> None:
    pickle.put(value.identity)
    pickle.code(b"Q")


EMITTERS: dict[type, Callable[[Pickle, Any], None]] = {
    type(None): put_none,
    bool: put_bool,
    int: put_int,
    float: put_float,
    complex: put_complex,
    str: put_text,
    bytes: put_bytes,
    tuple: put_tuple,
    list: put_list,
    dict: put_dict,
    set: put_set,
    frozenset: put_set,
    Attributed: put_ordered,
    Global: put_global,
    Call: put_call,
    New: put_new,
    Persistent: put_persistent,
}
