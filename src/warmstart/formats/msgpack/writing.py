"""Writing one file as Flax writes the same tree, one tensor in memory at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...binary.atomic import replacing
from ...binary.msgpack import (
    array_header as array_of,
)
from ...binary.msgpack import (
    bytes_header,
    extension_header,
    map_header,
    packed,
    text_header,
)
from ...binary.stream import Stream
from ...source import Source
from ...spec import ITEMSIZES, TensorSpec
from ..arrays import Buffer, bytes_of, encodable, note_faults, refuse_unheld, values_to_write
from ..notes import encode, notes_of
from ..trees import IS_CONTAINER, MAX_DEPTH, SEPARATOR, as_metadata, nested
from .leaves import ARRAY, CHUNKED, NOTE, roles_by_layout

#: Bytes above which an array is cut; Flax's MAX_CHUNK_SIZE.
MAX_CHUNK = 2**30
ADVICE = "An .npz or a TensorFlow bundle may hold them."


def write(source: Source, path: Path) -> None:
    """Write *source* to *path*."""
    refuse_unheld("msgpack", faults_of(source), ADVICE)
    tree = nested({**source.specs, **leaves_of(source)})
    with replacing(path) as file:
        stream = Stream(file, expected=sum(spec.nbytes for spec in source.specs.values()))
        for part in encoded(tree, source):
            stream.write(part)
        stream.flush()


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what this format cannot hold of *source*."""
    containers = containers_of(source.specs)
    faults = note_faults(source)
    for name, spec in source.specs.items():
        fault = fault_of(spec) or (IS_CONTAINER if name in containers else None)
        faults |= {name: fault} if fault else {}
    return faults


def fault_of(spec: TensorSpec) -> str | None:
    """Return why *spec* has no place in this format, None when it has."""
    levels = spec.name.split(SEPARATOR)
    if spec.dtype == "string":
        return f"{spec}: no such dtype in the format"
    if levels[0] == NOTE:
        return "is below the key of this library's own note"
    if CHUNKED in levels:
        return "has a key that marks an array in chunks"
    if len(levels) > MAX_DEPTH:
        return f"lies {len(levels)} levels deep, where {MAX_DEPTH} are read"
    return None if encodable(spec.name) else "is not Unicode text"


def containers_of(names: Iterable[str]) -> set[str]:
    """Return every proper start of *names* that ends before a separator.

    >>> sorted(containers_of(["a/b/c", "a/d", "e"]))
    ['a', 'a/b']
    """
    found: set[str] = set()
    for name in names:
        above = name
        while SEPARATOR in above:
            above = above.rpartition(SEPARATOR)[0]
            if above in found:
                break
            found.add(above)
    return found


def leaves_of(source: Source) -> dict[str, Any]:
    """Return what stands beside the tensors: plain leaves, and a note where one is needed."""
    notes = notes_of(source)
    plain = plain_leaves(notes.metadata, source.specs)
    said = roles_by_layout([*source.specs, *plain], source.specs)
    roles = {name: role for name, role in notes.roles.items() if said.get(name) != role}
    metadata = {key: text for key, text in notes.metadata.items() if key not in plain}
    note = encode(replace(notes, roles=roles, metadata=metadata))
    return plain if note is None else {**plain, NOTE: note}


def plain_leaves(metadata: Mapping[str, str], names: Iterable[str]) -> dict[str, Any]:
    """Return those of *metadata* that can be leaves of the tree: JSON of a plain value each.

    They come back as the same text; the others, and those in the way of a tensor, go to the note.
    """
    taken = set(names)
    containers = containers_of(taken)
    found = {}
    for key in sorted(metadata):
        above = containers_of([key])
        levels = key.split(SEPARATOR)
        free = key not in taken | containers and not above & taken and len(levels) <= MAX_DEPTH
        if free and levels[0] != NOTE and CHUNKED not in levels and is_plain(metadata[key]):
            found[key] = json.loads(metadata[key])
            taken.add(key)
            containers |= above
    return found


def is_plain(text: str) -> bool:
    """Return whether *text* is what a leaf of the tree becomes as metadata.

    >>> is_plain("3"), is_plain("{}"), is_plain('{"step": 3}'), is_plain("adam")
    (True, True, False, False)
    """
    try:
        value = json.loads(text)
        packed(value)
    except (ValueError, OverflowError, RecursionError):
        return False
    return as_metadata(value) == text and not (isinstance(value, dict | list) and value)


def encoded(tree: Mapping[str, Any], source: Source) -> Iterator[Buffer]:
    """Yield the bytes of *tree*, whose leaves are specs of *source* and plain values."""
    before = map_header(len(tree))
    for key in sorted(tree):  # as JAX orders the keys of a dict
        raw = key.encode()
        before += text_header(len(raw)) + raw
        value = tree[key]
        if isinstance(value, TensorSpec):
            yield from encoded_tensor(value, source, before)
        elif isinstance(value, dict):
            yield before
            yield from encoded(value, source)
        else:
            yield before + packed(value)
        before = b""
    yield before


def encoded_tensor(spec: TensorSpec, source: Source, before: bytes) -> Iterator[Buffer]:
    """Yield *before* and then the bytes of a tensor, in chunks when it is large."""
    values = values_to_write(source, spec)
    data = bytes_of(values)
    if len(data) <= MAX_CHUNK:
        yield before + array_header(spec.dtype, spec.shape, len(data))
        yield data
        return
    itemsize = ITEMSIZES[spec.dtype]
    step = max(1, MAX_CHUNK // itemsize) * itemsize
    yield before + map_header(3) + packed(CHUNKED) + packed(True)
    yield packed("shape") + packed({str(i): n for i, n in enumerate(spec.shape)})
    yield packed("chunks") + map_header(-(-len(data) // step))
    for number, begin in enumerate(range(0, len(data), step)):
        chunk = data[begin : begin + step]
        yield packed(str(number)) + array_header(spec.dtype, (len(chunk) // itemsize,), len(chunk))
        yield chunk


@lru_cache(1024)
def array_header(dtype: str, shape: tuple[int, ...], nbytes: int) -> bytes:
    """Return what stands before the *nbytes* of an array."""
    inner = array_of(3) + packed(shape) + packed(dtype) + bytes_header(nbytes)
    return extension_header(ARRAY, len(inner) + nbytes) + inner
