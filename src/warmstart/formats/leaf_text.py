"""Leaves that are no tensors, as text: JSON as far as that goes, and never more than a page.

Values may share parts so that a few bytes unfold to more than any memory holds; what is left out is
said by "...".
"""

import json
from collections.abc import Iterable
from typing import Any

from ..binary.pickle import Call, RawArray, RawDtype, brief

MAX_VALUES = 1000
MAX_DEPTH = 20
MAX_TEXT = 10_000  # characters of one string in a container, or bytes shown
LEFT_OUT = "..."

#: Characters that all leaves of a pickle are shown in, for each of its bytes and once.
SHOWN, SHOWN_ONCE = 20, 1 << 20


def shown(leaf: Any) -> str:
    """Return *leaf* as text.

    >>> shown({"lr": 0.1, "betas": (0.9, 0.99)}), shown(float("nan")), shown(b"ab")
    ('{"lr": 0.1, "betas": [0.9, 0.99]}', 'NaN', '"ab"')
    """
    if isinstance(leaf, str):
        return json.dumps(leaf.encode("utf-8", "backslashreplace").decode(), ensure_ascii=False)
    return json.dumps(Plain().of(leaf, MAX_DEPTH), ensure_ascii=False)


def all_shown(leaves: Iterable[tuple[str, Any]], nbytes: int) -> tuple[dict[str, str], bool]:
    """Return leaves of a pickle of *nbytes* as text by name, and whether nothing was left out.

    A value that is there once may be a leaf a hundred thousand times.
    """
    room = SHOWN_ONCE + SHOWN * nbytes
    found = {}
    for name, leaf in leaves:
        room -= size_of(leaf)
        found[name] = shown(leaf) if room >= 0 else json.dumps(LEFT_OUT)
        room -= len(found[name])
    return found, room >= 0


def size_of(leaf: Any) -> int:
    """Return about how many characters *leaf* takes, whole."""
    if isinstance(leaf, set | frozenset):
        return sum(map(size_of, leaf))
    return len(leaf) if isinstance(leaf, str | bytes | bytearray | memoryview) else 1


class Plain:
    """Values as JSON has them, at most `MAX_VALUES`."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def of(self, value: Any, depth: int) -> Any:
        """Return *value* as plain values, *depth* levels of it."""
        self._left -= 1
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str | bytes | bytearray | memoryview):
            return text_of(value)
        if depth == 0 or self._left <= 0:
            return LEFT_OUT
        if isinstance(value, dict):
            return {key_text(key): self.of(item, depth - 1) for key, item in self.some(value)}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.of(item, depth - 1) for item in self.some(value)]
        return self.of_object(value, depth)

    def of_object(self, value: Any, depth: int) -> Any:
        """Return an object as what its text or its contents say."""
        if isinstance(value, RawArray):
            return number_of_scalar(value) if value.scalar else f"(an array {value.shape})"
        if isinstance(value, Call):
            return {"__class__": brief(value.function), "args": self.of(value.args, depth - 1)}
        contents = getattr(value, "contents", None)
        if contents is None:
            return text_of(value.descr if isinstance(value, RawDtype) else str(value))
        return {"__class__": text_of(value.kind), **self.of(contents, depth - 1)}

    def some(self, container: Any) -> Iterable[Any]:
        """Yield the items of *container* while there is room for values."""
        for item in container.items() if isinstance(container, dict) else container:
            if self._left <= 0:
                yield (LEFT_OUT, LEFT_OUT) if isinstance(container, dict) else LEFT_OUT
                return
            yield item


def key_text(key: Any) -> str:
    """Return the key of a dict as JSON has it."""
    return text_of(key if isinstance(key, str | bytes) else str(key))


def text_of(value: str | bytes | bytearray | memoryview) -> str:
    """Return text that can be written out; bytes as Latin-1."""
    text = value if isinstance(value, str) else str(bytes(value[: MAX_TEXT + 1]), "latin-1")
    short = text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + LEFT_OUT
    return short.encode("utf-8", "backslashreplace").decode()


#: Scalars of NumPy by code: as struct has them.
STRUCT = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q",
    "u8": "Q", "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip


def number_of_scalar(scalar: RawArray) -> Any:
    """Return the number that a NumPy scalar is, or for another one its text."""
    from struct import calcsize, unpack

    dtype, data = scalar.dtype, scalar.data
    if dtype is None or isinstance(data, list):
        return text_of(str(data[:1])) if isinstance(data, list) else None
    code = (">" if dtype.byteorder == ">" else "<") + STRUCT.get(dtype.code, "0s")
    if dtype.code.startswith("U"):
        order = "be" if dtype.byteorder == ">" else "le"
        return text_of(str(bytes(data), f"utf-32-{order}", "replace").rstrip("\0"))
    if dtype.code not in STRUCT or calcsize(code) != len(data):
        return text_of(data)
    (number,) = unpack(code, data)
    return number
