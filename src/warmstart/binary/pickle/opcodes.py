"""What each opcode does to the machine, but for the few that `loading.run` does itself."""

import re
import struct
from collections.abc import Callable
from typing import Any

from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from .machine import HIGHEST_PROTOCOL, MAX_INTEGER, Machine, cut_short

Opcode = Callable[[Machine], None]


#: How Python 2 escaped bytes in a literal.
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)


def unknown(m: Machine) -> None:
    code = m.data[m.at - 1]
    raise CorruptCheckpoint(f"{code:#04x} is no opcode of a pickle")


OPCODES: list[Opcode] = [unknown] * 256


def on(code: bytes) -> Callable[[Opcode], Opcode]:
    """Enter the function in the table, as what *code* does."""

    def entered(function: Opcode) -> Opcode:
        OPCODES[code[0]] = function
        return function

    return entered


def pushing(code: bytes, value: Callable[[Machine], Any]) -> None:
    """Enter an opcode that pushes a *value* and does nothing else."""

    def push(m: Machine) -> None:
        pushed = value(m)  # first: it may change which stack is the uppermost
        m.stack.append(pushed)

    OPCODES[code[0]] = push


def constant(code: bytes, value: Any) -> None:
    """Enter an opcode that pushes a *value* which never changes."""

    def push(m: Machine) -> None:
        m.stack.append(value)

    OPCODES[code[0]] = push


# --- the course of the program --------------------------------------------------------------------


@on(b".")
def stop(m: Machine) -> None:
    m.running = False
    if len(m.stack) != 1:
        raise CorruptCheckpoint(f"the pickle stops with {len(m.stack)} values, where one is due")


@on(b"\x80")
def protocol(m: Machine) -> None:
    version = m.number(1)
    if version > HIGHEST_PROTOCOL:
        raise UnsupportedCheckpoint(
            f"the pickle is of protocol {version}; 0 to {HIGHEST_PROTOCOL} are known"
        )


@on(b"\x95")
def frame(m: Machine) -> None:
    size = m.number(8)
    if size > len(m.data) - m.at:
        m.take(size)  # says that the pickle is cut short


@on(b"(")
def mark(m: Machine) -> None:
    m.mark()


@on(b"0")
def pop(m: Machine) -> None:
    m.pop()


@on(b"1")
def pop_mark(m: Machine) -> None:
    m.since_mark()


@on(b"2")
def duplicate(m: Machine) -> None:
    m.stack.append(m.stack[-1])


# --- values ---------------------------------------------------------------------------------------

for _code, _value in ((b"N", None), (b"\x88", True), (b"\x89", False), (b")", ())):
    constant(_code, _value)
pushing(b"J", lambda m: int.from_bytes(m.take(4), "little", signed=True))
pushing(b"G", lambda m: struct.unpack(">d", m.take(8))[0])
pushing(b"F", lambda m: float(m.line()))
pushing(b"L", lambda m: int(m.line().removesuffix(b"L")))
pushing(b"\x8a", lambda m: integer(m, m.number(1)))
pushing(b"\x8b", lambda m: integer(m, m.number(4)))
pushing(b"V", lambda m: str(m.line(), "raw-unicode-escape"))
pushing(b"X", lambda m: text(m, 4))
pushing(b"\x8c", lambda m: text(m, 1))
pushing(b"\x8d", lambda m: text(m, 8))
pushing(b"S", lambda m: old_text(quoted(m.line())))
pushing(b"T", lambda m: old_text(m.raw(signed_size(m))))
pushing(b"U", lambda m: old_text(m.raw(m.number(1))))
pushing(b"B", lambda m: m.raw(m.number(4)))
pushing(b"C", lambda m: m.raw(m.number(1)))
pushing(b"\x8e", lambda m: m.raw(m.number(8)))
pushing(b"\x96", lambda m: bytearray(m.take(m.number(8))))
pushing(b"\x8f", lambda m: set())
pushing(b"l", lambda m: m.since_mark())
pushing(b"\x91", lambda m: frozenset(m.keys.checked(m.since_mark())))


@on(b"}")
def empty_dict(m: Machine) -> None:
    m.stack.append({})


@on(b"]")
def empty_list(m: Machine) -> None:
    m.stack.append([])


@on(b"M")
def short_number(m: Machine) -> None:
    m.stack.append(m.number(2))


@on(b"I")
def number_or_bool(m: Machine) -> None:
    line = m.line()
    m.stack.append({b"00": False, b"01": True}.get(line))
    if m.stack[-1] is None:
        m.stack[-1] = int(line)


def integer(m: Machine, size: int) -> int:
    """Return the signed number in the next *size* bytes."""
    if size > MAX_INTEGER:
        raise UnsupportedCheckpoint(f"a number has {size} bytes; {MAX_INTEGER} are read")
    return int.from_bytes(m.take(size), "little", signed=True)


def signed_size(m: Machine) -> int:
    """Return a size that is stored as if it might be negative."""
    size = int.from_bytes(m.take(4), "little", signed=True)
    if size < 0:
        raise CorruptCheckpoint(f"a string has {size} bytes")
    return size


def text(m: Machine, width: int) -> str:
    """Return UTF-8 text whose size takes *width* bytes; Python writes half surrogate pairs too."""
    begin = m.at + width
    m.at = end = begin + int.from_bytes(m.data[m.at : begin], "little")
    if end > len(m.data):
        raise cut_short(len(m.data))
    return str(m.data[begin:end], "utf-8", "surrogatepass")


def old_text(raw: bytes | memoryview) -> str | bytes | memoryview:
    """Return a string of Python 2, which is both text and bytes: text only where it is ASCII."""
    return str(raw, "ascii") if isinstance(raw, bytes) and raw.isascii() else raw


def quoted(line: bytes) -> bytes:
    """Return the bytes that Python 2 wrote as a literal."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise CorruptCheckpoint("a string is not in quotes")
    return ESCAPE.sub(lambda found: unescaped(found[1]), line[1:-1])


def unescaped(escape: bytes) -> bytes:
    """Return the byte that an *escape*, without its backslash, stands for."""
    if escape[:1] == b"x":
        return bytes([int(escape[1:], 16)])
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(escape, escape)


# --- tuples and dicts -----------------------------------------------------------------------------


@on(b"t")
def tuple_since_mark(m: Machine) -> None:
    values = tuple(m.since_mark())
    m.stack.append(values)


@on(b"\x87")
def tuple_of_three(m: Machine) -> None:
    third, second = m.stack.pop(), m.stack.pop()
    m.stack[-1] = (m.stack[-1], second, third)


@on(b"d")
def dict_since_mark(m: Machine) -> None:
    flat = m.since_mark()
    m.stack.append({})
    m.set_items(flat)


@on(b"a")
def append(m: Machine) -> None:
    value = m.stack.pop()
    m.append([value])


@on(b"e")
def appends(m: Machine) -> None:
    m.append(m.since_mark())


@on(b"\x90")
def add_items(m: Machine) -> None:
    m.add(m.since_mark())


@on(b"s")
def set_item(m: Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items([key, value])


@on(b"u")
def set_items(m: Machine) -> None:
    m.set_items(m.since_mark())


# --- the memo -------------------------------------------------------------------------------------


@on(b"p")
def put(m: Machine) -> None:
    m.remember(int(m.line()))


@on(b"g")
def get(m: Machine) -> None:
    m.recall(int(m.line()))


# --- names and calls: kept, never imported or made ------------------------------------------------


@on(b"c")
def name(m: Machine) -> None:
    module, name = m.line().decode(), m.line().decode()
    m.stack.append(m.named(module, name))


@on(b"\x93")
def name_on_stack(m: Machine) -> None:
    name, module = m.stack.pop(), m.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise CorruptCheckpoint("a name to import is no text")
    m.stack.append(m.named(module, name))


@on(b"R")
def reduce(m: Machine) -> None:
    args = m.stack.pop()
    m.stack[-1] = m.called(m.stack[-1], args)


@on(b"\x81")
def new_object(m: Machine) -> None:
    args = m.stack.pop()
    m.stack[-1] = m.called(m.stack[-1], args)


@on(b"\x92")
def new_object_with_keywords(m: Machine) -> None:
    kwargs, args = m.stack.pop(), m.stack.pop()
    m.stack[-1] = m.called(m.stack[-1], args, kwargs)


@on(b"i")
def instance(m: Machine) -> None:
    module, name = m.line().decode(), m.line().decode()
    args = tuple(m.since_mark())
    m.stack.append(m.called(m.named(module, name), args))


@on(b"o")
def object_(m: Machine) -> None:
    cls, *args = m.since_mark()
    m.stack.append(m.called(cls, tuple(args)))


@on(b"b")
def build(m: Machine) -> None:
    state = m.stack.pop()
    m.build(state)


@on(b"P")
def persistent(m: Machine) -> None:
    m.stack.append(m.persistent(m.line().decode()))


@on(b"Q")
def persistent_on_stack(m: Machine) -> None:
    m.stack.append(m.persistent(m.stack.pop()))


# --- refused --------------------------------------------------------------------------------------


@on(b"\x82")
@on(b"\x83")
@on(b"\x84")
def extension(m: Machine) -> None:
    raise UnsupportedCheckpoint(
        "the pickle names a class by a number of the extension registry, which only the program "
        "that wrote it has"
    )


@on(b"\x97")
@on(b"\x98")
def buffer(m: Machine) -> None:
    raise UnsupportedCheckpoint("the pickle keeps buffers outside of it, which are not here")
