"""Weights as one JSON text, for small models that a web page loads.

{"note": what `warmstart.formats.notes` writes, or null,
 "tensors": {"fc/kernel": {"dtype": "float32", "shape": [2, 3], "data": "... in base64"}}}
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from warmstart import CannotHold, CorruptCheckpoint, DictSource, Source
from warmstart.binary.atomic import write_whole
from warmstart.formats import notes
from warmstart.spec import RUN_PREFIX, checked_nbytes, numpy_dtype

EXTENSIONS = (".tensors.json",)
CHECKS = "structure; there are no checksums, so changed values go unnoticed"


def locate(path: Path) -> Path | None:
    """Return *path* if it is a file called so."""
    return path if path.is_file() and path.name.endswith(EXTENSIONS) else None


def open_source(path: Path, *, verify: bool) -> Source:
    """Read the whole file; there are no checksums to verify."""
    try:
        match json.loads(path.read_bytes()):
            case {"note": str() | None as note, "tensors": dict(items)}:
                return source_of(items, notes.decode(note) if note else notes.Notes())
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, no base64
        raise CorruptCheckpoint(f"the weights are not JSON as they should be: {error}") from error
    raise CorruptCheckpoint('the JSON has no "note" and "tensors"')


def source_of(items: dict[str, Any], note: notes.Notes) -> Source:
    arrays = {name: array_of(name, item) for name, item in items.items()}
    roles = {**note.roles, **{name: "run" for name in arrays if name.startswith(RUN_PREFIX)}}
    notes.checked(note, arrays)
    return DictSource(arrays, roles=roles, metadata=note.metadata, aliases=note.aliases)


def array_of(name: str, item: Any) -> np.ndarray:
    match item:
        case {"dtype": str(dtype), "shape": [*shape], "data": str(text)} if dtype != "string":
            data = base64.b64decode(text, validate=True)
            values = numpy_dtype(dtype)
            if all(type(n) is int for n in shape) and checked_nbytes(dtype, shape) == len(data):
                return np.frombuffer(data, values).reshape(shape)
    raise CorruptCheckpoint(f"{name!r} is not a tensor: {str(item)[:80]}")


def save_source(source: Source, path: Path) -> None:
    """Write all of *source*, which these files are too small to do one tensor at a time."""
    strings = [name for name, spec in source.specs.items() if spec.dtype == "string"]
    if strings:
        raise CannotHold(f"JSON weights hold no strings: {', '.join(map(repr, strings))}")
    tensors = {name: item_of(source, name) for name in source.specs}
    content = {"note": notes.encode(notes.notes_of(source)), "tensors": tensors}
    write_whole(path, json.dumps(content, sort_keys=True).encode())


def item_of(source: Source, name: str) -> dict[str, Any]:
    spec = source.specs[name]
    data = np.asarray(source.read(name), spec.numpy_dtype).tobytes()
    text = base64.b64encode(data).decode()
    return {"dtype": spec.dtype, "shape": spec.shape, "data": text}
