"""What a distributed checkpoint says of itself: its pickle of dataclasses, read as inert nodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

from ...binary.pickle import COMMON, Call, Global, brief, loads
from ...errors import CorruptCheckpoint, UnsupportedCheckpoint
from ...spec import ITEMSIZES, TensorSpec, checked_nbytes
from ..sharded import refuse_escape
from .tiling import refuse_bad_tiling

#: Where the classes have lived: 1.13, and since 2.0.
PACKAGES = ("torch.distributed.", "torch.distributed._shard.")

Offsets = tuple[int, ...]
Data = bytes | memoryview


class Place(NamedTuple):
    """Where one item lies: bytes of a file of the folder, half-open."""

    file: str
    begin: int
    end: int


class Chunk(NamedTuple):
    """A box of a tensor: where it begins in it, its size along each axis, and where it lies."""

    offsets: Offsets
    sizes: tuple[int, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Contents:
    """Everything there is: tensors by name, other values by name, nested keys by name."""

    specs: dict[str, TensorSpec]
    chunks: dict[str, list[Chunk]]
    values: dict[str, Place]
    paths: dict[str, tuple[str | int, ...]]

    def places(self) -> Iterator[tuple[str, Place]]:
        """Yield every item by name."""
        for name, chunks in self.chunks.items():
            yield from ((name, chunk.place) for chunk in chunks)
        yield from self.values.items()


def size_of(shape: Any) -> tuple[int, ...]:
    """Return what `torch.Size` is called with, if it is one."""
    size = tuple(shape)
    if is_size(size):
        return size
    raise TypeError(f"a size is {brief(shape)}")


def is_size(value: Any) -> TypeGuard[tuple[int, ...]]:
    """Return whether *value* is a tuple of whole numbers, each 0 or more."""
    if not isinstance(value, tuple):
        return False
    for n in value:  # noqa: SIM110  (a generator takes three times as long)
        if type(n) is not int or n < 0:
            return False
    return True


BUILDERS = {**COMMON, ("torch", "Size"): size_of}


def read_metadata(data: Data) -> Contents:
    """Return what the pickle *data* says, proved to be whole and within its folder."""
    fields = fields_of(loads(data, builders=BUILDERS), "Metadata")
    items = mapping(fields, "state_dict_metadata")
    places = places_of(mapping(fields, "storage_data"))
    refuse_escape({place.file for place in places.values()})
    tensors = {n: item for n, item in items.items() if is_a(item, "TensorStorageMetadata")}
    specs = {name: spec_of_item(name, item) for name, item in tensors.items()}
    chunks = {name: chunks_of(specs[name], item, places) for name, item in tensors.items()}
    refuse_bad_tiling(
        {n: (specs[n].shape, [(c.offsets, c.sizes) for c in found]) for n, found in chunks.items()}
    )
    rest = {name: item for name, item in items.items() if name not in tensors}
    values = {name: place_of_value(name, item, places) for name, item in rest.items()}
    return Contents(specs, chunks, values, paths_of(fields.get("planner_data"), items))


def is_a(value: object, name: str) -> bool:
    """Return whether *value* is an object of the class called *name* of PyTorch's."""
    function = value.function if isinstance(value, Call) else None
    return (
        isinstance(function, Global)
        and function.name == name
        and function.module.startswith(PACKAGES)
    )


def fields_of(value: Any, name: str) -> Mapping[str, Any]:
    """Return the fields of *value*, a dataclass called *name*."""
    state = value.state if is_a(value, name) else False
    if state is None:
        return {}
    if isinstance(state, dict):
        return state
    raise CorruptCheckpoint(f"where the metadata should have a {name} stands {described(value)}")


def described(value: object) -> str:
    """Return in few words what *value* is."""
    if isinstance(value, Call):
        return f"an object of {value.function}"
    return f"a {type(value).__name__}: {str(value)[:60]}"


def mapping(fields: Mapping[str, Any], name: str) -> dict[Any, Any]:
    """Return the field called *name*, a dict."""
    value = fields.get(name)
    if isinstance(value, dict):
        return value
    raise CorruptCheckpoint(f"the metadata have no dict {name}; found is {described(value)}")


def places_of(storage_data: Mapping[Any, Any]) -> dict[tuple[str, Offsets | None], Place]:
    """Return the place of each item by name and offsets; values have no offsets."""
    places: dict[tuple[str, Offsets | None], Place] = {}
    for index, info in storage_data.items():
        key = key_of(fields_of(index, "MetadataIndex"))
        if key in places:
            raise CorruptCheckpoint(f"{key[0]!r} lies in two places at offsets {key[1]}")
        places[key] = place_of(key[0], fields_of(info, "_StorageInfo"))
    return places


def key_of(index: Mapping[str, Any]) -> tuple[str, Offsets | None]:
    """Return name and offsets of a MetadataIndex."""
    match index:
        case {"fqn": str(name), "offset": tuple(offsets)} if is_size(offsets):
            return name, offsets
        case {"fqn": str(name)} if index.get("offset") is None:
            return name, None
    raise CorruptCheckpoint(f"an item is indexed by {str(dict(index))[:100]}")


def place_of(name: str, info: Mapping[str, Any]) -> Place:
    """Return where an item of *name* lies."""
    if info.get("transform_descriptors"):
        raise UnsupportedCheckpoint(
            f"{name!r} was stored through {info['transform_descriptors']}, an extension of the "
            "program that wrote it; only what was stored plainly is read"
        )
    match info:
        case {"relative_path": str(file), "offset": int(begin), "length": int(length)}:
            if begin >= 0 and length >= 0:
                return Place(file, begin, begin + length)
    raise CorruptCheckpoint(f"{name!r} is said to lie at {str(dict(info))[:100]}")


def spec_of_item(name: str, item: Any) -> TensorSpec:
    """Return the spec of a tensor from its TensorStorageMetadata."""
    fields = fields_of(item, "TensorStorageMetadata")
    size = fields.get("size")
    if not isinstance(name, str) or not is_size(size):
        raise CorruptCheckpoint(f"{name!r} has no size")
    dtype = dtype_of(name, fields.get("properties"))
    checked_nbytes(dtype, size)
    return TensorSpec(name, dtype, size)


def dtype_of(name: str, properties: Any) -> str:
    """Return the dtype in *properties*, whose state is a tuple, or in old files a dict."""
    state = properties.state if is_a(properties, "TensorProperties") else None
    match state:
        case (Global("torch", dtype), *_) | {"dtype": Global("torch", dtype)}:
            if dtype in ITEMSIZES:
                return dtype
            raise UnsupportedCheckpoint(f"{name!r} has the dtype torch.{dtype}, which is not read")
    raise CorruptCheckpoint(f"{name!r} has no dtype")


def chunks_of(
    spec: TensorSpec, item: Any, places: Mapping[tuple[str, Offsets | None], Place]
) -> list[Chunk]:
    """Return the chunks of *spec*, each with its place."""
    boxes = fields_of(item, "TensorStorageMetadata").get("chunks")
    if not isinstance(boxes, list):
        raise CorruptCheckpoint(f"{spec.name!r} has no list of chunks")
    found = []
    for box in boxes:
        fields = fields_of(box, "ChunkStorageMetadata")
        offsets, sizes = fields.get("offsets"), fields.get("sizes")
        if not is_size(offsets) or not is_size(sizes):
            raise CorruptCheckpoint(f"a chunk of {spec.name!r} has no offsets and sizes")
        place = places.get((spec.name, offsets))
        if place is None and len(boxes) == 1:  # what is not sharded needs no offsets
            place = places.get((spec.name, None))
        if place is None:
            raise CorruptCheckpoint(f"the chunk of {spec.name!r} at {offsets} lies nowhere")
        found.append(Chunk(offsets, sizes, place))
    return found


def place_of_value(
    name: Any, item: Any, places: Mapping[tuple[str, Offsets | None], Place]
) -> Place:
    """Return where a value that is no tensor lies."""
    fields_of(item, "BytesStorageMetadata")
    place = places.get((name, None)) if isinstance(name, str) else None
    if place is None:
        raise CorruptCheckpoint(f"the value {name!r} lies nowhere")
    return place


def paths_of(planner_data: Any, items: Mapping[Any, Any]) -> dict[str, tuple[str | int, ...]]:
    """Return the nested keys of those of *items* that have some; other planners keep other data."""
    if not isinstance(planner_data, dict):
        return {}
    return {
        name: path
        for name, path in planner_data.items()
        if name in items
        and isinstance(path, tuple)
        and all(type(key) in (str, int) for key in path)
    }
