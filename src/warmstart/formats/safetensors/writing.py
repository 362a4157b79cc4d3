"""Writing one safetensors file, byte for byte as the reference writes the same tensors."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...binary.atomic import replacing
from ...binary.stream import Stream
from ...errors import CannotHold
from ...source import Source
from ...spec import TensorSpec
from ..arrays import bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..notes import Notes, encode, notes_of
from .header import CODES, MAX_HEADER, METADATA, NOTE
from .packing import pack

if TYPE_CHECKING:
    import numpy as np

#: dtype -> (rank among the data, code, bits an element takes)
HELD = {dtype: (i, code, bits) for i, (code, (dtype, bits)) in enumerate(CODES.items())}
ADVICE = "An .npz or a TensorFlow bundle may hold them."


def write_file(source: Source, path: Path) -> None:
    """Write *source* to *path*: largest elements first, then by name, as the reference does."""
    refuse_unheld("safetensors", faults_of(source), ADVICE)
    specs = sorted(source.specs.values(), key=lambda s: (-HELD[s.dtype][0], s.name))
    header = encoded_header(specs, metadata_of(source))
    if len(header) - 8 > MAX_HEADER:
        raise CannotHold(
            f"the names and metadata take {len(header) - 8} bytes; safetensors holds {MAX_HEADER}"
        )
    with replacing(path) as file:
        stream = Stream(file, expected=len(header) + sum(map(packed_nbytes, specs)))
        stream.write(header)
        for spec in specs:
            stream.write(bytes_of(packed_values(source, spec)))
        stream.flush()


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what this format cannot hold of *source*."""
    faults = note_faults(source)
    faults |= {name: fault for name, spec in source.specs.items() if (fault := fault_of(spec))}
    if NOTE in source.metadata:
        faults[NOTE] = "is the key of this library's own note in the metadata"
    return faults


def fault_of(spec: TensorSpec) -> str | None:
    """Return why *spec* has no place in this format, None when it has."""
    if spec.name == METADATA:
        return "is the reserved name of the metadata"
    if spec.dtype not in HELD:
        return f"{spec}: no such dtype in the format"
    if spec.size * HELD[spec.dtype][2] % 8:
        return f"{spec}: ends inside a byte"
    return None if encodable(spec.name) else "is not Unicode text"


def metadata_of(source: Source) -> dict[str, str]:
    """Return the text metadata of the file, with a note where there is something to note."""
    notes = notes_of(source)
    note = encode(replace(notes, metadata={}))
    looks_tied = any(value in source.specs for value in notes.metadata.values())
    if note is None and looks_tied:  # else read as the reference's record of tied weights
        note = encode(Notes(), always=True)
    metadata = dict(notes.metadata)
    if note is not None:
        metadata[NOTE] = note
    return metadata


def encoded_header(specs: Iterable[TensorSpec], metadata: dict[str, str]) -> bytes:
    """Return the length and the JSON, padded so that the data begin at a multiple of 8."""
    items: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for spec in specs:
        code = HELD[spec.dtype][1]
        begin, end = end, end + packed_nbytes(spec)
        items[spec.name] = {"dtype": code, "shape": spec.shape, "data_offsets": [begin, end]}
    text = json.dumps(items, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def packed_nbytes(spec: TensorSpec) -> int:
    """Return the bytes that *spec* takes in the file."""
    return spec.size * HELD[spec.dtype][2] // 8


def packed_values(source: Source, spec: TensorSpec) -> "np.ndarray":
    """Return the values of *spec* as they lie in the file."""
    import numpy as np

    array = values_to_write(source, spec)
    bits = HELD[spec.dtype][2]
    return array if bits >= 8 else pack(array.reshape(-1).view(np.uint8), bits)
