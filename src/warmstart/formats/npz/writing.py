"""Writing an archive that `np.load` reads, whose arrays can be mapped."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.atomic import replacing
from ...binary.stream import Stream
from ...binary.zip import MAX_NAME, ZipWriter
from ...source import Source
from ...spec import TensorSpec, dtype_name
from ..arrays import bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..notes import encode, notes_of
from .npy import STATED, npy_head
from .reading import NOTE

if TYPE_CHECKING:
    import numpy as np

ADVICE = "A TensorFlow bundle may hold them."


def write_npz(source: Source, path: Path) -> None:
    """Write *source* to *path*, the arrays sorted by name and then the note."""
    import numpy as np

    refuse_unheld("npz", faults_of(source), ADVICE)
    note = note_of(source)
    with replacing(path) as file:
        stream = Stream(file, expected=sum(spec.nbytes for spec in source.specs.values()))
        archive = ZipWriter(stream.write)
        for name in sorted(source.specs):
            array = array_to_write(source, source.specs[name])
            archive.add(name + ".npy", head_of(array), bytes_of(array))
        if note is not None:
            array = np.frombuffer(note.encode(), np.uint8)
            archive.add(NOTE + ".npy", head_of(array), bytes_of(array))
        archive.finish()
        stream.flush()


def head_of(array: "np.ndarray") -> bytes:
    """Return the header of *array*; what NumPy has no name for is raw bytes ('V') to it."""
    known = dtype_name(array.dtype) in STATED
    descr = array.dtype.str if known else f"<V{array.dtype.itemsize}"
    return npy_head(descr, array.shape)


def note_of(source: Source) -> str | None:
    """Return the note to keep beside the arrays, None when there is nothing to say."""
    specs = source.specs.items()
    unstated = {name: spec.dtype for name, spec in specs if spec.dtype not in STATED}
    return encode(replace(notes_of(source), dtypes=unstated))


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what this format cannot hold of *source*; strings are read to be judged."""
    faults = note_faults(source)
    for name, spec in source.specs.items():
        fault = name_fault(name)
        if fault is None and spec.dtype == "string":
            fault = string_fault(source.read(name))
        if fault is not None:
            faults[name] = fault
    return faults


def name_fault(name: str) -> str | None:
    """Return why no member of an archive can be called *name*, None when one can."""
    if name == NOTE:
        return "is the name of this library's own note"
    if not encodable(name):
        return "is not Unicode text"
    if "\0" in name:
        return "has a NUL, where zip readers cut a name"
    nbytes = len(name.encode()) + len(".npy")
    return f"takes {nbytes} bytes, of {MAX_NAME} at most" if nbytes > MAX_NAME else None


def string_fault(array: "np.ndarray") -> str | None:
    """Return why fixed-width bytes would change the strings of *array*, else None."""
    items = array.ravel().tolist()
    if not all(isinstance(item, bytes | str) for item in items):
        return "holds objects that are not strings"
    if not all(encodable(item) for item in items if isinstance(item, str)):
        return "holds strings that are not Unicode text"
    if any(item[-1:] in (b"\0", "\0") for item in items):
        return "holds strings that end in a NUL, which NumPy strips"
    return None


def array_to_write(source: Source, spec: TensorSpec) -> "np.ndarray":
    """Return the values of *spec* as NumPy stores them: strings at the width of the longest."""
    array = values_to_write(source, spec)
    return fixed_width(array) if spec.dtype == "string" else array


def fixed_width(array: "np.ndarray") -> "np.ndarray":
    """Return strings of any kind as NumPy's fixed-width bytes, text in UTF-8."""
    import numpy as np

    items = [i if isinstance(i, bytes) else i.encode() for i in array.ravel().tolist()]
    return np.array(items, dtype=f"S{max(map(len, items), default=0) or 1}").reshape(array.shape)
