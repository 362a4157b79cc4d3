"""A folder of a distributed checkpoint as a source: tensors put together from their chunks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...binary.garbage import collection_paused
from ...binary.window import FileBytes, file_bytes
from ...errors import CheckpointNotFound, CorruptCheckpoint, noting
from ...source import Index, ListedSource
from ...spec import RUN_PREFIX, TensorSpec, dtype_name
from ..leaf_text import shown
from ..notes import Notes, checked, decode
from . import DATA, METADATA
from .items import array_of, value_of
from .metadata import Chunk, Contents, Place, read_metadata
from .structure import TREE, Structure, encoded
from .tiling import shared

if TYPE_CHECKING:
    import numpy as np

#: The item in which this library notes roles, aliases and metadata.
NOTE = RUN_PREFIX + "state"
#: Bytes between items up to this many are there to align the next one.
ALIGNMENT = 64


class DcpSource(ListedSource):
    """Mapped files: a tensor of one chunk is read as a view, one of several is put together."""

    def __init__(self, path: Path, *, verify: bool, mmap: bool = True) -> None:
        """Open the folder *path*, or the metadata file of one rank."""
        self._folder = path if path.is_dir() else path.parent
        self._metadata_path = path / METADATA if path.is_dir() else path
        self._verify = verify
        self._place = f"while reading {path}"
        with noting(self._place), collection_paused():
            self._contents = read_metadata(file_bytes(self._metadata_path, mmap=mmap)[:])
            self._files = opened(self._folder, self._contents.places(), mmap=mmap)
            self._notes = self._read_notes()
            refuse_false_aliases(self._contents, self._notes)
            refuse_misplaced(self._own_places(), self._files)
        self._aliases, self._derived = self._notes.aliases, self._notes.derived
        roles = {**dict.fromkeys(slots_in(self._contents.paths), "slot"), **self._notes.roles}
        self._specs = {
            name: spec._replace(role="run" if name.startswith(RUN_PREFIX) else roles.get(name))
            for name, spec in self._contents.specs.items()
            if name not in self._aliases
        }

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """What the note says, and every value that is no tensor by its name, as JSON."""
        values = dict(self._values())
        found = {name: shown(value) for name, value in values.items()}
        plain = {name: value for name, value in values.items() if can_be_written(value)}
        structure = encoded(Structure(self._contents.paths, plain))
        return {**found, **({} if structure is None else {TREE: structure}), **self._notes.metadata}

    def _values(self) -> Iterator[tuple[str, Any]]:
        for name, place in self._contents.values.items():
            if name != NOTE:
                with noting(self._place), noting(f"in the value {name!r} in {place.file}"):
                    yield name, value_of(self._bytes(place), verify=self._verify)

    def read(self, name: str) -> "np.ndarray":
        spec = self._spec(name)
        chunks = self._contents.chunks[spec.name]
        with noting(self._place):
            if len(chunks) == 1:
                return self._array(spec, chunks[0])
            return self._joined(spec, chunks, [range(n) for n in spec.shape])

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        spec = self._spec(name)
        chunks = self._contents.chunks[spec.name]
        wanted = ranges_of(index, spec.shape)
        if len(chunks) == 1 or wanted is None:
            return super().read_slice(name, index)
        ranges, kept = wanted
        with noting(self._place):
            return self._joined(spec, chunks, ranges)[kept]

    def read_order(self) -> Iterator[str]:
        first = {
            name: min((c.place.file, c.place.begin) for c in self._contents.chunks[name])
            for name in self._specs
        }
        yield from sorted(first, key=first.__getitem__)

    def _own_places(self) -> Iterator[tuple[str, Place]]:
        """Yield every item once; an alias has those of its tensor."""
        aliases = self._notes.aliases
        yield from (item for item in self._contents.places() if item[0] not in aliases)

    def unclaimed(self) -> Iterable[str]:
        """Return what of the data files no item takes, and the data files that nothing names."""
        yield from gaps(self._own_places(), self._files)
        if self._metadata_path.name == METADATA:  # of one rank alone, the others have theirs
            others = {p.name for p in self._folder.glob("*" + DATA)} - self._files.keys()
            yield from (f"{name}: no item lies in it" for name in sorted(others))

    def _spec(self, name: str) -> TensorSpec:
        return self._specs[self._own(name)]

    def _bytes(self, place: Place) -> memoryview:
        return self._files[place.file][place.begin : place.end]

    def _array(self, spec: TensorSpec, chunk: Chunk) -> "np.ndarray":
        with noting(f"in the chunk of {spec.name!r} at {chunk.offsets} in {chunk.place.file}"):
            array = array_of(self._bytes(chunk.place), verify=self._verify)
            if (dtype_name(array.dtype), array.shape) != (spec.dtype, chunk.sizes):
                raise CorruptCheckpoint(
                    f"the chunk holds {dtype_name(array.dtype)} {array.shape}; the metadata say "
                    f"{spec.dtype} {chunk.sizes}"
                )
        return array

    def _joined(
        self, spec: TensorSpec, chunks: Sequence[Chunk], wanted: Sequence[range]
    ) -> "np.ndarray":
        """Return the *wanted* part of a tensor; only the chunks that it touches are read."""
        import numpy as np

        out = np.empty([len(r) for r in wanted], spec.numpy_dtype)
        for chunk in chunks:
            found = shared((chunk.offsets, chunk.sizes), wanted)
            if found is not None:
                here, there = found
                out[there] = self._array(spec, chunk)[here]
        return out

    def _read_notes(self) -> Notes:
        place = self._contents.values.get(NOTE)
        if place is None:
            return Notes()
        text = value_of(self._bytes(place), verify=self._verify)
        if not isinstance(text, str):
            raise CorruptCheckpoint(f"the item {NOTE!r} is no note of this library")
        notes = decode(text)
        return checked(notes, self._contents.specs.keys() - notes.aliases.keys())


def can_be_written(value: Any) -> bool:
    """Return whether *value* is of plain kinds, which are written again as they are."""
    if isinstance(value, dict):
        return all(can_be_written(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | set):
        return all(map(can_be_written, value))
    return value is None or isinstance(value, bool | int | float | str | bytes | complex)


def slots_in(paths: Mapping[str, tuple[str | int, ...]]) -> set[str]:
    """Return what lies in the state of an optimizer, which has `param_groups` beside it.

    >>> slots_in({"o.state.0.m": ("o", "state", "0", "m"), "o.param_groups": ("o", "param_groups")})
    {'o.state.0.m'}
    """
    optimizers = {
        path[:i] for path in paths.values() for i, key in enumerate(path) if key == "param_groups"
    }
    return {
        name
        for name, path in paths.items()
        if any(key == "state" and path[:i] in optimizers for i, key in enumerate(path))
    }


def opened(
    folder: Path, places: Iterable[tuple[str, Place]], *, mmap: bool
) -> dict[str, FileBytes]:
    """Return the bytes of every file that an item lies in, all of which must be there."""
    names = sorted({place.file for _, place in places})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointNotFound(
            f"{len(missing)} of {len(names)} data files are missing: {', '.join(missing)}"
        )
    return {name: file_bytes(folder / name, mmap=mmap) for name in names}


def refuse_false_aliases(contents: Contents, notes: Notes) -> None:
    """Refuse aliases that lie elsewhere than the tensor that they are said to be."""
    wrong = sorted(
        alias
        for alias, name in notes.aliases.items()
        if alias in contents.chunks and contents.chunks[alias] != contents.chunks[name]
    )
    if wrong:
        raise CorruptCheckpoint(
            f"the note has aliases that are tensors of their own: {', '.join(map(repr, wrong))}"
        )


def refuse_misplaced(places: Iterable[tuple[str, Place]], files: Mapping[str, FileBytes]) -> None:
    """Refuse items that lie beyond the end of their file, or over one another.

    Overlapping ones would let a small file ask for a large memory.
    """
    ends = dict.fromkeys(files, 0)
    for name, place in in_order(places):
        size = len(files[place.file])
        if place.end > size:
            raise CorruptCheckpoint(
                f"{name!r} lies at bytes {place.begin} to {place.end} of {place.file}, which has "
                f"{size}: it was cut short"
            )
        if place.begin < ends[place.file]:
            raise CorruptCheckpoint(
                f"{name!r} begins at byte {place.begin} of {place.file}, inside the item before it"
            )
        ends[place.file] = place.end


def in_order(places: Iterable[tuple[str, Place]]) -> list[tuple[str, Place]]:
    """Return *places* in the order of files and bytes."""
    return sorted(places, key=lambda item: (item[1].file, item[1].begin, item[1].end))


def gaps(places: Iterable[tuple[str, Place]], files: Mapping[str, FileBytes]) -> Iterator[str]:
    """Yield each run of bytes of *files* that lies in no item and is no padding of zeros."""
    runs: dict[str, int] = dict.fromkeys(files, 0)
    ends = [("", Place(name, len(file), len(file))) for name, file in files.items()]
    for _, place in in_order([*places, *ends]):
        begin, runs[place.file] = runs[place.file], place.end
        between = files[place.file][begin : place.begin]
        if len(between) >= ALIGNMENT or any(between):
            yield f"{place.file}: bytes {begin} to {place.begin}"


def ranges_of(
    index: Index, shape: tuple[int, ...]
) -> tuple[list[range], tuple[int | slice, ...]] | None:
    """Return what *index* takes along each axis, and what makes of that what it asked for.

    Integers become a range of one, which the second part takes out again; a negative step is
    turned round.  None for what is more than integers and slices.

    >>> ranges_of((1, slice(None, None, -2)), (3, 6))
    ([range(1, 2), range(1, 7, 2)], (0, slice(None, None, -1)))
    """
    items = list(index) if isinstance(index, tuple) else [index]
    if sum(item is Ellipsis for item in items) > 1:
        return None
    if Ellipsis in items:
        at = items.index(Ellipsis)
        items[at : at + 1] = [slice(None)] * (len(shape) - len(items) + 1)
    items += [slice(None)] * (len(shape) - len(items))
    if len(items) != len(shape) or not all(type(item) in (int, slice) for item in items):
        return None
    pairs = [range_of(item, n) for item, n in zip(items, shape, strict=True)]
    found = [pair for pair in pairs if pair is not None]
    if len(found) < len(pairs):  # out of range: NumPy says so in its own words
        return None
    return [taken for taken, _ in found], tuple(kept for _, kept in found)


def range_of(item: int | slice, n: int) -> tuple[range, int | slice] | None:
    """Return what *item* takes of an axis of *n*, and what is then to be taken of that."""
    if isinstance(item, int):
        return (range(item % n, item % n + 1), 0) if -n <= item < n else None
    found = range(*item.indices(n))
    if found.step > 0:
        return found, slice(None)
    return found[::-1], slice(None, None, -1)
