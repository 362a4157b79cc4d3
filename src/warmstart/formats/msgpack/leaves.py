"""The leaves of a Flax file by name: where its arrays lie, and what else there is."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...binary.msgpack import MAX_VALUES, Place, parse
from ...binary.window import FileBytes
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import ITEMSIZES, RUN_PREFIX, TensorSpec, checked_nbytes
from ..notes import Notes, checked, decode
from ..trees import SEPARATOR, as_metadata, flat

ARRAY, COMPLEX, SCALAR = 1, 2, 3  # codes of extensions
CHUNKED = "__msgpack_chunked_array__"
NOTE = "warmstart"  # the key of this library's own note
MAX_BYTES_SHOWN = 1024

#: The keys of a TrainState, and the role of what is below them.
TRAIN_STATE = {"params": None, "opt_state": "slot", "step": "run"}


@dataclass(frozen=True, slots=True)
class Stored:
    """An array in the file, in C order; a large one in several runs of bytes."""

    dtype: str
    shape: tuple[int, ...]
    runs: tuple[Place, ...]


#: By the bytes of a whole extension: what stood before the values in the last one, and the array.
Known = dict[int, tuple[bytes, Stored]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds; `arrays` in the order of the file."""

    arrays: Mapping[str, Stored]
    specs: Mapping[str, TensorSpec]
    notes: Notes


def read_contents(file: FileBytes) -> Contents:
    """Return what *file* holds, without its values."""
    known: Known = {}
    tree = parse(
        file, on_map=joined, on_extension=lambda place: leaf_of_extension(file, place, known)
    )
    note = taken_note(tree)
    leaves = flat(tree, limit=MAX_VALUES) if tree != {} else {}
    arrays = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, Stored)}
    plain = {n: text_of(file, leaf) for n, leaf in leaves.items() if n not in arrays}
    roles = dict(note.roles) | roles_by_layout(leaves, arrays)
    specs = {n: TensorSpec(n, a.dtype, a.shape, roles.get(n)) for n, a in arrays.items()}
    metadata = plain | dict(note.metadata)
    return Contents(arrays, specs, replace(checked(note, arrays), roles=roles, metadata=metadata))


def taken_note(tree: Any) -> Notes:
    """Return this library's note, and remove it from *tree*; what else has its key stays there."""
    text = tree.get(NOTE) if isinstance(tree, dict) else None
    if not isinstance(text, str) or not text.startswith("{"):
        return Notes()
    del tree[NOTE]
    return decode(text)


def roles_by_layout(leaves: Iterable[str], tensors: Iterable[str]) -> dict[str, str]:
    """Return the roles of *tensors* that the names of all *leaves* say by themselves."""
    roles = {name: "run" for name in tensors if name.startswith(RUN_PREFIX)}
    if not {name.partition(SEPARATOR)[0] for name in leaves} >= TRAIN_STATE.keys():
        return roles
    said = {name: TRAIN_STATE.get(name.partition(SEPARATOR)[0]) for name in tensors}
    return roles | {name: role for name, role in said.items() if role}


def leaf_of_extension(file: FileBytes, place: Place, known: Known) -> Any:
    """Return what the extension at *place* stands for; one that is not Flax's stays a place."""
    if place.code in (ARRAY, SCALAR):
        return stored_like(file, place, known)
    if place.code == COMPLEX:
        match parse(file, place.begin, place.end):
            case [int() | float() as real, int() | float() as imaginary]:
                return complex(real, imaginary)
        raise CorruptCheckpoint(f"the complex number at byte {place.begin} is not two numbers")
    return place


def stored_like(file: FileBytes, place: Place, known: Known) -> Stored:
    """Return the array at *place*; one that begins as the last of its size did is not parsed."""
    nbytes = place.end - place.begin
    header, like = known.get(nbytes, (b"", None))
    if like is not None and file[place.begin : place.begin + len(header)] == header:
        return Stored(like.dtype, like.shape, (Place(place.begin + len(header), place.end),))
    found = stored(file, place)
    known[nbytes] = bytes(file[place.begin : found.runs[0].begin]), found
    return found


def stored(file: FileBytes, place: Place) -> Stored:
    """Return the array that the extension at *place* describes, checked against its bytes."""
    match parse(file, place.begin, place.end):
        case [[*shape], str(dtype), Place() as data] if all(type(n) is int for n in shape):
            if dtype not in ITEMSIZES or dtype == "string":
                raise UnsupportedCheckpoint(
                    f"the array at byte {place.begin} has dtype {dtype!r}; known: "
                    + ", ".join(ITEMSIZES)
                )
            nbytes, found = checked_nbytes(dtype, shape), data.end - data.begin
            if nbytes != found:
                raise CorruptCheckpoint(
                    f"the array at byte {place.begin} has {found} bytes; {dtype} {tuple(shape)} "
                    f"takes {nbytes}"
                )
            return Stored(dtype, tuple(shape), (data,))
    raise CorruptCheckpoint(
        f"the array at byte {place.begin} is not described by shape, dtype and bytes"
    )


def joined(value: dict[Any, Any]) -> Any:
    """Return the array that the map *value* has in chunks; any other map is returned unchanged."""
    if CHUNKED not in value:
        return value
    shape, chunks = in_order(value.get("shape")), in_order(value.get("chunks"))
    if shape is None or chunks is None or len(value) != 3:
        raise CorruptCheckpoint("an array in chunks has no shape and chunks numbered from 0")
    if not all(type(n) is int for n in shape):
        raise CorruptCheckpoint(f"the shape of an array in chunks is no list of numbers: {shape}")
    if not chunks or not all(isinstance(c, Stored) and len(c.shape) == 1 for c in chunks):
        raise CorruptCheckpoint("an array in chunks has none, or some that are no flat arrays")
    dtypes, sizes = {c.dtype for c in chunks}, [math.prod(c.shape) for c in chunks]
    checked_nbytes(chunks[0].dtype, shape)
    if len(dtypes) > 1 or sum(sizes) != math.prod(shape):
        raise CorruptCheckpoint(
            f"an array of shape {tuple(shape)} takes {math.prod(shape)} values of one dtype; its "
            f"{len(chunks)} chunks have {sum(sizes)} of {', '.join(sorted(dtypes))}"
        )
    return Stored(chunks[0].dtype, tuple(shape), tuple(run for c in chunks for run in c.runs))


def in_order(value: object) -> list[Any] | None:
    """Return the values of a map with the keys "0", "1", ...; None if it is none."""
    if not isinstance(value, dict) or any(str(i) not in value for i in range(len(value))):
        return None
    return [value[str(i)] for i in range(len(value))]


def text_of(file: FileBytes, leaf: Any) -> str:
    """Return a leaf that is no array as metadata; long bytes are only counted."""
    if not isinstance(leaf, Place):
        return as_metadata(leaf)
    nbytes = leaf.end - leaf.begin
    if leaf.code is not None:
        return f"<{nbytes} bytes of the extension {leaf.code}>"
    if nbytes > MAX_BYTES_SHOWN:
        return f"<{nbytes} bytes>"
    return as_metadata(bytes(file[leaf.begin : leaf.end]))
