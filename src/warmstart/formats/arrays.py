"""Arrays as the formats need them: over the bytes of a file, and as bytes for a file."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import CannotHold, SaveError, UnsupportedCheckpoint
from ..source import Source
from ..spec import TensorSpec, spec_of

if TYPE_CHECKING:
    import numpy as np

Buffer = bytes | bytearray | memoryview


def array_over(
    buffer: Buffer,
    dtype: "np.dtype",
    shape: tuple[int, ...],
    begin: int = 0,
    *,
    order: Literal["C", "F"] = "C",
) -> "np.ndarray":
    """Return the array that lies in *buffer* from *begin*, without a copy.

    The caller has checked that the bytes are there; NumPy's own limits (64 dimensions, or a huge
    one beside a zero) are the file's fault, not ours.
    """
    import numpy as np

    try:
        return np.ndarray(shape, dtype, buffer=buffer, offset=begin, order=order)
    except (ValueError, MemoryError) as error:
        raise UnsupportedCheckpoint(f"NumPy has no array of shape {shape}: {error}") from error


def settled(array: "np.ndarray") -> "np.ndarray":
    """Return *array* in native byte order and C order, itself when it is so already."""
    import numpy as np

    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return np.asarray(native, order="C")


def values_to_write(source: Source, spec: TensorSpec) -> "np.ndarray":
    """Return the values of *spec*, C-ordered and little-endian, as every format here stores them.

    The header was written from the specs, so values that turn out otherwise cannot be saved.
    """
    array = source.read(spec.name)
    found = spec_of(spec.name, array)
    if (found.dtype, found.shape) != (spec.dtype, spec.shape):
        raise SaveError(f"{spec.name!r} was to be {spec}, but the values are {found}")
    array = settled(array)
    return array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("<"))


def bytes_of(array: "np.ndarray") -> memoryview:
    """Return the bytes of a C-ordered *array* without a copy, whatever its dtype."""
    import numpy as np

    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def encodable(text: str) -> bool:
    """Return whether *text* can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def note_faults(source: Source) -> dict[str, str]:
    """Return by name the aliases and metadata of *source* that no note can hold."""
    faults = {}
    for alias, name in source.aliases.items():
        if alias in source.specs or name not in source.specs:
            faults[alias] = f"is not another name of {name!r}, as the source has it"
        elif not encodable(alias):
            faults[alias] = "is not Unicode text"
    for key, text in source.metadata.items():
        if not encodable(key + text):
            faults[key] = "has metadata that are not Unicode text"
    return faults


def refuse_unheld(kind: str, faults: Mapping[str, str], advice: str) -> None:
    """Raise CannotHold with every fault by name, if there is any."""
    if not faults:
        return
    width = max(len(repr(name)) for name in faults)
    lines = [f"  {name!r:{width}}  {fault}" for name, fault in faults.items()]
    raise CannotHold("\n".join([f"{kind} cannot hold {len(faults)} of these:", *lines, advice]))
