"""Calls of a pickle that become values: of Python's own plain types and of NumPy's arrays.

A builder takes the arguments of the call, and says what does not fit by one of `Unfit`: the call
is then kept as it is.  None of them allocates by a number in the pickle, imports what the pickle
names, or calls what it passes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .keys import Keys
from .nodes import Attributed
from .raw_arrays import array_begun, array_from_buffer, dtype_called, scalar_of

Builder = Callable[..., Any]
BuilderTable = Mapping[tuple[str, str], Builder]

#: What a builder raises for arguments that it does not take.
Unfit = (TypeError, ValueError, LookupError, AttributeError, OverflowError)


def ordered(pairs: Any = ()) -> Attributed:
    """Return a dict of *pairs*, or of another dict's; most are empty and filled later."""
    if pairs == ():
        return Attributed()
    items = list(pairs.items() if isinstance(pairs, dict) else sequence(pairs))
    Keys().checked(key for key, _ in items)
    return Attributed(items)


def defaulted(_factory: Any = None, pairs: Any = ()) -> Attributed:
    """Return a dict without the function that would make what is missing."""
    return ordered(pairs)


def listed(items: Any = (), _longest: Any = None) -> list[Any]:
    """Return the *items* of a deque."""
    return list(sequence(items))


def sequence(items: Any) -> Iterable[Any]:
    """Return *items* if they are a container that is there, not one yet to be made."""
    if isinstance(items, list | tuple | set | frozenset | dict):
        return items
    raise TypeError(f"a {type(items).__name__} is no container")


def set_of(items: Any = ()) -> set[Any]:
    """Return a set of *items*."""
    return set(Keys().checked(sequence(items)))


def frozenset_of(items: Any = ()) -> frozenset[Any]:
    """Return a frozen set of *items*."""
    return frozenset(Keys().checked(sequence(items)))


def bytes_of(text: Any = b"", encoding: Any = "latin-1") -> bytes:
    """Return bytes that protocol 2 keeps as text; never so many zeros as a number asks."""
    if isinstance(text, str) and encoding in ("latin1", "latin-1"):
        return text.encode("latin-1")
    if isinstance(text, bytes | bytearray | memoryview):
        return bytes(text)
    return bytes(sequence(text))


def bytearray_of(text: Any = b"", encoding: Any = "latin-1") -> bytearray:
    """Return a bytearray."""
    return bytearray(bytes_of(text, encoding))


def complex_of(real: Any = 0, imaginary: Any = 0) -> complex:
    """Return a complex number."""
    if not all(isinstance(part, int | float) for part in (real, imaginary)):
        raise TypeError("parts that are no numbers")
    return complex(real, imaginary)


def moment(kind: str) -> Builder:
    """Return the builder of one of datetime's classes."""

    def built(*args: Any) -> Any:
        import datetime

        plain = [a.encode("latin-1") if isinstance(a, str) else a for a in args]
        if not all(
            isinstance(a, bytes | int | datetime.tzinfo | datetime.timedelta) for a in plain
        ):
            raise TypeError("parts that are no numbers")
        return getattr(datetime, kind)(*plain)

    return built


def path(separator: str) -> Builder:
    """Return the builder of a path, as text; nothing is looked up."""

    def built(*parts: Any) -> str:
        root, rest = "".join(parts[:1]), parts[1:]
        between = "" if root.endswith(separator) or not rest else separator
        return root + between + separator.join(rest) if parts else "."

    return built


NUMPY: BuilderTable = {
    ("numpy", "dtype"): dtype_called,
    ("numpy.core.multiarray", "_reconstruct"): array_begun,
    ("numpy._core.multiarray", "_reconstruct"): array_begun,
    ("numpy.core.multiarray", "scalar"): scalar_of,
    ("numpy._core.multiarray", "scalar"): scalar_of,
    ("numpy.core.numeric", "_frombuffer"): array_from_buffer,
    ("numpy._core.numeric", "_frombuffer"): array_from_buffer,
}

COMMON: BuilderTable = {
    ("collections", "OrderedDict"): ordered,
    ("collections", "defaultdict"): defaulted,
    ("collections", "Counter"): ordered,
    ("collections", "deque"): listed,
    ("builtins", "dict"): ordered,
    ("builtins", "list"): listed,
    ("builtins", "set"): set_of,
    ("builtins", "frozenset"): frozenset_of,
    ("builtins", "complex"): complex_of,
    ("builtins", "bytes"): bytes_of,
    ("builtins", "bytearray"): bytearray_of,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
    ("builtins", "xrange"): range,
    ("_codecs", "encode"): bytes_of,
    **{("datetime", kind): moment(kind) for kind in ("date", "time", "datetime", "timedelta")},
    ("datetime", "timezone"): moment("timezone"),
    **{
        (module, flavour + "Path"): path("\\" if "Windows" in flavour else "/")
        for module in ("pathlib", "pathlib._local")
        for flavour in ("", "Pure", "Posix", "PurePosix", "Windows", "PureWindows")
    },
    **NUMPY,
}
