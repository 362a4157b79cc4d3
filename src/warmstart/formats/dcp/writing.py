"""Writing a folder that `torch.distributed.checkpoint.load` restores, in any number of ranks."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from ...binary.atomic import write_whole
from ...binary.folder import refuse_strangers, replacing_folder
from ...binary.pickle import Call, Global
from ...binary.pickling import New, dumps
from ...binary.stream import Stream
from ...source import Source
from ...spec import TensorSpec
from ..arrays import bytes_of, note_faults, refuse_unheld, values_to_write
from ..notes import encode, notes_of
from ..torch.archive import TorchArchive
from ..torch.writing import ADVICE, dtype_fault, name_fault, tensor
from . import DATA, METADATA, OF_ONE_RANK
from .metadata import Place
from .reading import ALIGNMENT, NOTE

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
    specs = [source.specs[name] for name in sorted(source.specs)]
    with replacing_folder(path) as folder:
        places = write_items(source, specs, folder / FILE)
        write_whole(folder / METADATA, metadata_of(specs, source.aliases, places))


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


def write_items(source: Source, specs: Iterable[TensorSpec], path: Path) -> dict[str, Place]:
    """Write each tensor and the note to a new file *path*; return where they lie."""
    places = {}
    note = encode(notes_of(source))
    with path.open("xb", buffering=0) as file:
        stream = Stream(file, expected=sum(spec.nbytes for spec in source.specs.values()))
        for spec in specs:
            stream.pad(ALIGNMENT)
            begin = stream.position
            archive = TorchArchive(stream, pickle_of(spec.dtype, spec.shape))
            archive.add_storage(bytes_of(values_to_write(source, spec)))
            archive.finish()
            places[spec.name] = Place(FILE, begin, stream.position)
        if note is not None:
            stream.pad(ALIGNMENT)
            begin = stream.position
            TorchArchive(stream, dumps(note)).finish()
            places[NOTE] = Place(FILE, begin, stream.position)
        stream.flush()
    return places


@lru_cache(1000)
def pickle_of(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the pickle of one tensor alone."""
    return dumps(tensor(TensorSpec("", dtype, shape), 0))


def metadata_of(
    specs: Iterable[TensorSpec], aliases: Mapping[str, str], places: Mapping[str, Place]
) -> bytes:
    """Return the pickle that says what lies where; an alias lies where its tensor does."""
    named = {spec.name: spec for spec in specs}
    named |= {alias: named[name] for alias, name in sorted(aliases.items())}
    items = {name: tensor_metadata(spec) for name, spec in named.items()}
    stored = dict(stored_tensors(named, places))
    if NOTE in places:
        items[NOTE] = New(VALUE)
        stored[index_of(NOTE, None)] = info_of(places[NOTE])
    state = {
        "state_dict_metadata": items,
        "planner_data": {name: (name,) for name in items},
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
    named: Mapping[str, TensorSpec], places: Mapping[str, Place]
) -> Iterator[tuple[New, New]]:
    """Yield for each name its index and where it lies."""
    for name, spec in named.items():
        yield index_of(name, (0,) * len(spec.shape)), info_of(places[spec.name])


def index_of(name: str, offsets: tuple[int, ...] | None) -> New:
    """Return under what an item is looked up."""
    place = {} if offsets is None else {"offset": Call(SIZE, (offsets,))}
    return New(INDEX, state={"fqn": name, "index": None if offsets is None else 0, **place})


def info_of(place: Place) -> New:
    """Return where an item lies."""
    length = place.end - place.begin
    return New(INFO, state={"relative_path": place.file, "offset": place.begin, "length": length})
