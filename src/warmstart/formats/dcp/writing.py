"""Writing a folder that `torch.distributed.checkpoint.load` restores, in any number of ranks."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...binary.atomic import write_whole
from ...binary.folder import refuse_strangers, replacing_folder
from ...binary.garbage import collection_paused
from ...binary.pickle import Call, Global
from ...binary.pickling import New, dumps
from ...binary.stream import Stream
from ...source import Source
from ...spec import TensorSpec
from ..arrays import Buffer, bytes_of, note_faults, refuse_unheld, values_to_write
from ..notes import Notes, encode, notes_of
from ..torch.archive import TorchArchive
from ..torch.writing import ADVICE, dtype_fault, name_fault, tensor
from . import DATA, METADATA, OF_ONE_RANK
from .metadata import Place
from .reading import ALIGNMENT, NOTE
from .structure import TREE, Structure, decoded

FILE = "__0_0" + DATA

CLASSES = "torch.distributed.checkpoint.metadata"
INDEX = Global(CLASSES, "MetadataIndex")
CHUNK = Global(CLASSES, "ChunkStorageMetadata")
TENSOR = Global(CLASSES, "TensorStorageMetadata")
VALUE = Global(CLASSES, "BytesStorageMetadata")
PROPERTIES = Global(CLASSES, "TensorProperties")
ALL = Global(CLASSES, "Metadata")
INFO = Global("torch.distributed.checkpoint.filesystem", "_StorageInfo")
SIZE = Global("torch", "Size")
STRIDED = Global("torch", "strided")
PACKED = Call(Global(CLASSES, "_MEM_FORMAT_ENCODING"), (0,))

VERSION = "1.0.0"


def write_folder(source: Source, path: Path) -> None:
    """Write *source* to the folder *path*: one data file, a chunk a tensor, sorted by name."""
    refuse_unheld("A distributed checkpoint", faults_of(source), ADVICE)
    refuse_strangers(path, is_ours)
    structure, notes = content_of(source)
    with replacing_folder(path) as folder:
        places = write_items(source, {**structure.values, **noted(notes)}, folder / FILE)
        with collection_paused():
            metadata = metadata_of(source, structure, places)
        write_whole(folder / METADATA, metadata)


def content_of(source: Source) -> tuple[Structure, Notes]:
    """Return the structure to write, and what is to be noted beside it."""
    said = notes_of(source)
    text = said.metadata.get(TREE)
    if text is None:
        return Structure(), said
    structure = decoded(text, source.specs.keys() | source.aliases.keys())
    given = structure.values.keys() | {TREE}
    left = {key: value for key, value in said.metadata.items() if key not in given}
    return structure, replace(said, metadata=left)


def noted(notes: Notes) -> dict[str, str]:
    """Return the note as an item, if there is anything to note."""
    note = encode(notes)
    return {} if note is None else {NOTE: note}


def is_ours(name: str) -> bool:
    """Return whether a file called *name* belongs to a distributed checkpoint."""
    return name == METADATA or name.endswith(DATA) or OF_ONE_RANK.fullmatch(name) is not None


def faults_of(source: Source) -> dict[str, str]:
    """Return by name what this format cannot hold of *source*."""
    faults = note_faults(source)
    for spec in source.specs.values():
        fault = name_fault(spec.name) or dtype_fault(spec)
        if spec.name == NOTE:
            fault = "is the name of this library's own note"
        if fault is not None:
            faults[spec.name] = fault
    return faults


def write_items(source: Source, values: Mapping[str, Any], path: Path) -> dict[str, Place]:
    """Write each tensor and then *values* to a new file *path*; return where they lie."""
    places = {}
    with path.open("xb", buffering=0) as file:
        stream = Stream(file, expected=sum(spec.nbytes for spec in source.specs.values()))

        def add(name: str, pickle: bytes, *storages: Buffer) -> None:
            stream.pad(ALIGNMENT)
            begin = stream.position
            archive = TorchArchive(stream, pickle)
            for storage in storages:
                archive.add_storage(storage)
            archive.finish()
            places[name] = Place(FILE, begin, stream.position)

        for name in sorted(source.specs):
            spec = source.specs[name]
            add(name, pickle_of(spec.dtype, spec.shape), bytes_of(values_to_write(source, spec)))
        for name in sorted(values):
            add(name, dumps(values[name]))
        stream.flush()
    return places


@lru_cache(1000)
def pickle_of(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the pickle of one tensor alone."""
    return dumps(tensor(TensorSpec("", dtype, shape), 0))


def metadata_of(source: Source, structure: Structure, places: Mapping[str, Place]) -> bytes:
    """Return the pickle that says what lies where; a tied name lies where its tensor does."""
    specs = {name: source.specs[name] for name in sorted(source.specs)}
    derived = set(source.derived)
    tied = {alias: name for alias, name in source.aliases.items() if alias not in derived}
    specs |= {alias: specs[name] for alias, name in sorted(tied.items())}
    items = {name: tensor_metadata(spec) for name, spec in specs.items()}
    stored = dict(stored_tensors(specs, places))
    for name in sorted(places.keys() - source.specs.keys()):
        items[name] = New(VALUE)
        stored[index_of(name, None)] = info_of(places[name])
    state = {
        "state_dict_metadata": items,
        "planner_data": {name: structure.path(name) for name in items},
        "storage_data": stored,
        "storage_meta": None,
        "version": VERSION,
    }
    return dumps(New(ALL, state=state))


def tensor_metadata(spec: TensorSpec) -> New:
    """Return what the metadata say of a tensor: one chunk, which is all of it."""
    size, origin = Call(SIZE, (spec.shape,)), Call(SIZE, ((0,) * len(spec.shape),))
    chunk = New(CHUNK, state={"offsets": origin, "sizes": size})
    return New(
        TENSOR, state={"properties": properties(spec.dtype), "size": size, "chunks": [chunk]}
    )


def properties(dtype: str) -> New:
    """Return the rest of it: dtype, layout, gradient, memory format, pinned."""
    return New(PROPERTIES, state=(Global("torch", dtype), STRIDED, False, PACKED, False))


def stored_tensors(
    specs: Mapping[str, TensorSpec], places: Mapping[str, Place]
) -> Iterator[tuple[New, New]]:
    """Yield for each name its index and where it lies."""
    for name, spec in specs.items():
        yield index_of(name, (0,) * len(spec.shape)), info_of(places[spec.name])


def index_of(name: str, offsets: tuple[int, ...] | None) -> New:
    """Return under what an item is looked up."""
    place = {} if offsets is None else {"offset": Call(SIZE, (offsets,))}
    return New(INDEX, state={"fqn": name, "index": None if offsets is None else 0, **place})


def info_of(place: Place) -> New:
    """Return where an item lies."""
    length = place.end - place.begin
    return New(INFO, state={"relative_path": place.file, "offset": place.begin, "length": length})
