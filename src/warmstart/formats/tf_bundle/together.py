"""A bundle that the processes of one run write together, each a data file of its own.

    save_together(source, prefix, processes)        # called by every process, with what it has

    say       each says which tensors and pieces it has; process 0 chooses who writes what: a piece
              that several have is written by the one that has least to write so far
    write     each writes its data file `PREFIX.data-<rank>-of-<count>`, durable
    commit    each sends its entries, not its tensors; process 0 writes the index, the one commit

Where one fails or dies, all raise; the checkpoint before stands, and is found.  All processes see
the same folder.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...binary.atomic import in_real_folder
from ...binary.table import Table, write_table
from ...boxes import Box, box_shape, box_text
from ...errors import ProcessError, SaveError
from ...processes import Processes
from ...source import ListedSource, Source
from ...spec import TensorSpec
from .. import notes
from .commit import commit, free_count, identity, remove
from .entries import merged, piece_key, whole_entry, with_aliases
from .paths import data_files, data_of, index_of
from .writer import aliases_in, checked, write_shard

if TYPE_CHECKING:
    import numpy as np

#: Where a piece stands, as text; "" is all of the tensor.
Place = str

#: Who writes what several processes have: name -> where -> process.
Writers = Mapping[str, Mapping[Place, int]]


def save_together(source: Source, prefix: Path, processes: Processes) -> None:
    """Write *source*, which in every process has what is there, as the one bundle *prefix*.

    Raise SaveError in all of them when it did not happen in one.
    """
    saving = divided(source, prefix, processes)
    saving.finish(saving.own, processes)


def divided(source: Source, prefix: Path, processes: Processes) -> "Divided":
    """Choose who writes what of *source*; see `save_together`, of which this is the first part.

    What is left to do takes the values of `own` alone, or of a copy, and may do so in a thread.
    """
    prefix = in_real_folder(prefix)
    saving = Divided(source, prefix, processes)
    with telling(prefix):
        what = f"choosing who writes what, saving {prefix.name}"
        saving.told(processes.settle(what, saving.say, saving.choose))
    return saving


@contextmanager
def telling(prefix: Path) -> Iterator[None]:
    """Turn the failure of another process into a SaveError."""
    try:
        yield
    except ProcessError as error:
        raise SaveError(f"{prefix} was not saved: {error}") from error


@contextmanager
def removed_when_refused(data: Path, index: Path, processes: Processes) -> Iterator[None]:
    """Remove *data*, the data file of this process, once no index can want it any more.

    Where process 0 gave no answer, it may yet commit: what is left is swept when a run starts.
    """
    before = identity(index)
    try:
        yield
    except BaseException as error:
        unknown = isinstance(error, ProcessError) and not (processes.first or error.answered)
        if not unknown and identity(index) == before:
            with suppress(OSError):
                data.unlink()
        raise


@dataclass
class Divided:
    """One bundle on its way, as one process sees it."""

    source: Source
    prefix: Path
    processes: Processes
    keys: dict[str, str] = field(default_factory=dict)  # of the bundle, by names of the source
    pieces: dict[str, list[Box]] = field(default_factory=dict)  # of the source
    old: dict[Path, tuple[int, int]] = field(default_factory=dict)  # process 0 only, as the next
    note: str | None = None
    aliases: dict[str, str] = field(default_factory=dict)
    shards: int = 0
    own: "OwnPart" = field(init=False)  # what this process writes

    @property
    def data(self) -> Path:
        """The data file of this process."""
        return data_of(self.prefix, self.processes.rank, self.shards)

    def say(self) -> bytes:
        """Return what this process has, having checked that a bundle can hold it."""
        source = self.source
        self.keys, _ = checked(source)
        self.pieces = stored_pieces(source)
        keys, pieces = self.keys, self.pieces
        has = {
            keys[name]: [
                spec.dtype,
                spec.shape,
                spec.role,
                [box_text(box) for box in pieces[name]] if name in pieces else [""],
                [box_shape(box) for box in pieces[name]] if name in pieces else [spec.shape],
            ]
            for name, spec in source.specs.items()
        }
        claim = {
            "has": has,
            "aliases": aliases_in(source, keys),
            "metadata": dict(source.metadata),
        }
        return json.dumps(claim).encode()

    def choose(self, said: Sequence[bytes]) -> bytes:
        """Return who writes what, from what every process has said; in process 0."""
        claims = [json.loads(each) for each in said]
        specs = agreed_specs([claim["has"] for claim in claims])
        for claim in reversed(claims):  # of metadata, those of process 0 count
            self.aliases |= claim["aliases"]
        metadata = {k: v for claim in reversed(claims) for k, v in claim["metadata"].items()}
        roles = {spec.name: spec.role for spec in specs if spec.role is not None}
        self.note = notes.encode(notes.Notes(roles, self.aliases, metadata))
        self.old = data_files(self.prefix)
        shards = free_count(self.old.values(), self.processes.count)
        writers = writers_of([claim["has"] for claim in claims])
        return json.dumps({"shards": shards, "writers": writers}).encode()

    def told(self, answer: bytes) -> None:
        """Take note of what process 0 has chosen."""
        found: dict[str, Any] = json.loads(answer)
        self.shards = found["shards"]
        writers, rank = found["writers"], self.processes.rank
        self.own = OwnPart(self.source, self.keys, self.pieces, writers, rank)

    def finish(self, source: Source, processes: Processes) -> None:
        """Write *source*, which is `own` or a copy of it, and commit it."""
        what = f"saving {self.prefix.name}"
        index = index_of(self.prefix)
        with telling(self.prefix), removed_when_refused(self.data, index, processes):
            processes.settle(what, partial(self.write, source), self.commit)
        remove(self.old)

    def write(self, source: Source) -> bytes:
        """Write *source* as the data file of this process, durable; return its entries."""
        rank = self.processes.rank
        entries = write_shard(source, self.data, self.own.keys, shard=rank, note=self.note)
        return write_table(sorted({**entries, **self.own.wholes}.items()))

    def commit(self, said: Sequence[bytes]) -> bytes:
        """Write the index of all entries; in process 0."""
        unseen = [
            (rank, path)
            for rank in range(self.processes.count)
            if not (path := data_of(self.prefix, rank, self.shards)).exists()
        ]
        if unseen:
            rows = [f"  {path}, of process {rank}" for rank, path in unseen]
            raise SaveError(
                "\n".join(
                    [
                        "process 0 does not see what others have written; all have to save into "
                        "one folder that they share:",
                        *rows,
                    ]
                )
            )
        entries = merged(dict(entries_in(table)) for table in said)
        commit(self.prefix, self.shards, with_aliases(entries, self.aliases))
        return b""


def stored_pieces(source: Source) -> dict[str, list[Box]]:
    """Return the pieces of *source* that have values."""
    return {n: [b for b in boxes if 0 not in box_shape(b)] for n, boxes in source.pieces.items()}


def entries_in(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries of one process, by key."""
    for keys, values in Table(memoryview(table), verify=True).blocks():
        yield from zip(keys, values, strict=True)


Claims = Sequence[Mapping[str, Sequence[Any]]]


def agreed_specs(claims: Claims) -> list[TensorSpec]:
    """Return what every tensor is; raise SaveError naming all of which two processes disagree."""
    found: dict[str, tuple[int, TensorSpec]] = {}
    faults = []
    for rank, claim in enumerate(claims):
        for name, (dtype, shape, role, places, _) in claim.items():
            spec = TensorSpec(name, dtype, tuple(shape), role)
            first, known = found.setdefault(name, (rank, spec))
            if (spec.dtype, spec.shape) != (known.dtype, known.shape):
                faults.append(f"  {name}: {known} in process {first}, {spec} in process {rank}")
            elif ("" in places) != ("" in claims[first][name][3]):
                faults.append(f"  {name}: as a whole in one of the processes {first} and {rank}, "
                              "in pieces in the other")  # fmt: skip
    if faults:
        raise SaveError("\n".join(["processes have different tensors of one name:", *faults]))
    return [spec for _, spec in found.values()]


def writers_of(claims: Claims) -> dict[str, dict[Place, int]]:
    """Return who writes the pieces that several processes have: whoever has least to write.

    The largest are given first, so that all end up with about as many bytes.
    """
    holders: dict[tuple[str, Place], list[int]] = {}
    sizes: dict[tuple[str, Place], int] = {}
    for rank, claim in enumerate(claims):
        for name, (dtype, _, role, places, shapes) in claim.items():
            for place, shape in zip(places, shapes, strict=True):
                holders.setdefault((name, place), []).append(rank)
                sizes[name, place] = TensorSpec(name, dtype, tuple(shape), role).nbytes
    load = [0] * len(claims)
    writers: dict[str, dict[Place, int]] = {}
    contested = []
    for piece, ranks in holders.items():
        if len(ranks) == 1:
            load[ranks[0]] += sizes[piece]
        else:
            contested.append(piece)
    for piece in sorted(contested, key=lambda piece: (-sizes[piece], piece)):
        rank = min(holders[piece], key=load.__getitem__)
        load[rank] += sizes[piece]
        writers.setdefault(piece[0], {})[piece[1]] = rank
    return writers


class OwnPart(ListedSource):
    """What one process writes of a source, each piece under a name of its own."""

    def __init__(
        self,
        source: Source,
        keys: Mapping[str, str],
        pieces: Mapping[str, Iterable[Box]],
        writers: Writers,
        rank: int,
    ) -> None:
        """Show what *writers* leaves to the process *rank*; *keys* are those of the bundle."""
        self._source = source
        self._specs: dict[str, TensorSpec] = {}
        self._places: dict[str, tuple[str, Box | None]] = {}
        self.keys: dict[str, bytes] = {}
        self.wholes: dict[bytes, bytes] = {}  # the entries of tensors in pieces
        for name, spec in source.specs.items():
            key = keys[name]
            boxes: Iterable[Box | None] = pieces.get(name, [None])
            places = {"" if box is None else box_text(box): box for box in boxes}
            chosen = writers.get(key, {})
            own = {text: box for text, box in places.items() if chosen.get(text, rank) == rank}
            self._add(spec, key, own)

    def _add(self, spec: TensorSpec, key: str, own: Mapping[Place, Box | None]) -> None:
        """Take up the places *own* of the tensor *spec*."""
        for text, box in own.items():
            name = spec.name + text
            shape = spec.shape if box is None else box_shape(box)
            self._specs[name] = spec._replace(name=name, shape=shape)
            self._places[name] = spec.name, box
            self.keys[name] = key.encode() if box is None else piece_key(key, box, spec.shape)
        boxes = [box for box in own.values() if box is not None]
        if boxes:
            self.wholes[key.encode()] = whole_entry(spec.dtype, spec.shape, boxes)

    def read(self, name: str) -> "np.ndarray":
        own, box = self._places[self._own(name)]
        return self._source.read(own) if box is None else self._source.read_slice(own, box)
