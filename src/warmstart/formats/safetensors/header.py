"""The header of one safetensors file: parsed, and checked against the size of the file."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from ...binary.window import FileBytes
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import RUN_PREFIX, TensorSpec, checked_nbytes
from ..notes import Notes, checked, decode, parse_object

MAX_HEADER = 100_000_000  # bytes; the limit of the reference reader
METADATA = "__metadata__"
NOTE = "warmstart"  # the key of our note in the metadata

#: code -> (dtype, bits an element takes in the file), in the order of the reference's own table,
#: which is also the order of the data: later codes first.
CODES: dict[str, tuple[str, int]] = {
    "BOOL": ("bool", 8),
    "F4": ("float4_e2m1fn", 4),
    "F6_E2M3": ("float6_e2m3fn", 6),
    "F6_E3M2": ("float6_e3m2fn", 6),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: bytes from the start of the data, half-open."""

    spec: TensorSpec
    bits: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds; `entries` in the order of the data."""

    entries: Mapping[str, Entry]
    notes: Notes
    data: int  # the file offset where the data begin


def read_header(file: FileBytes) -> Header:
    """Return the header of the *file*, whose tensors are proved to cover its data exactly once."""
    if len(file) < 8:
        raise CorruptCheckpoint(f"the file has {len(file)} bytes; the length of a header takes 8")
    n = int.from_bytes(file[:8], "little")
    if n > min(len(file) - 8, MAX_HEADER):
        raise CorruptCheckpoint(
            f"the header claims {n} bytes; {len(file) - 8} are left and {MAX_HEADER} allowed"
        )
    items = parse_object(file[8 : 8 + n], "the header")
    notes = parse_metadata(items.pop(METADATA, {}), items)
    entries = [parse_entry(name, item, notes.roles) for name, item in items.items()]
    entries.sort(key=attrgetter("begin", "end"))
    check_tiling(entries, len(file) - 8 - n)
    return Header({entry.spec.name: entry for entry in entries}, notes, 8 + n)


def parse_metadata(value: object, names: Mapping[str, object]) -> Notes:
    """Return the notes in a header's metadata.

    Without a note of ours, an entry {name that was dropped: name that was kept} is a tied weight,
    as `safetensors.torch.save_model` records it.
    """
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise CorruptCheckpoint(f"{METADATA} does not map text to text")
    if NOTE in value:
        note = decode(value[NOTE])
        metadata = {key: text for key, text in value.items() if key != NOTE}
        return checked(replace(note, metadata=metadata), names)
    aliases = {old: new for old, new in value.items() if new in names and old not in names}
    return Notes({}, aliases, {key: text for key, text in value.items() if key not in aliases})


def parse_entry(name: str, item: object, roles: Mapping[str, str]) -> Entry:
    """Return the header's *item* for *name*, checked for kind but not yet for place."""
    match item:
        case {"dtype": str(code), "shape": [*shape], "data_offsets": [begin, end]}:
            if code not in CODES:
                raise UnsupportedCheckpoint(
                    f"{name!r} has dtype {code!r}; known: {', '.join(CODES)}"
                )
            if all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
                dtype, bits = CODES[code]
                role = "run" if name.startswith(RUN_PREFIX) else roles.get(name)
                return Entry(TensorSpec(name, dtype, tuple(shape), role), bits, begin, end)
    raise CorruptCheckpoint(f"{name!r} is not described as a tensor: {str(item)[:200]}")


def check_tiling(entries: Iterable[Entry], data_size: int) -> None:
    """Refuse *entries*, sorted by place, that do not cover the data exactly once.

    A gap could hide bytes; an overlap lets a small file ask for a large memory.
    """
    end = 0
    for entry in entries:
        name, found, expected = entry.spec.name, entry.end - entry.begin, packed_nbytes(entry)
        if entry.begin != end:
            raise CorruptCheckpoint(f"{name!r} begins at byte {entry.begin} of the data, not {end}")
        if found != expected:
            raise CorruptCheckpoint(f"{name!r} has {found} bytes; {entry.spec} takes {expected}")
        end = entry.end
    if end != data_size:
        raise CorruptCheckpoint(f"the tensors end at byte {end} of the data, which has {data_size}")


def packed_nbytes(entry: Entry) -> int:
    """Return the bytes the tensor takes in the file, refusing one that ends inside a byte."""
    spec = entry.spec
    checked_nbytes(spec.dtype, spec.shape)
    nbits = math.prod(spec.shape) * entry.bits
    if nbits % 8:
        raise CorruptCheckpoint(f"{spec.name!r} {spec} takes {nbits} bits, not whole bytes")
    return nbits // 8
