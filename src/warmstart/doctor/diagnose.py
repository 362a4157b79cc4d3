"""From a path to a diagnosis: who wrote what stands there, and which pieces it has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Unpack

from ..binary.urls import shown
from ..errors import CheckpointError, noting
from ..files.options import Reading
from ..formats import expanded, locate, open_as
from ..restore.slots import OBJECT_GRAPH
from ..source import Source
from ..train.newest import choose
from ..train.snapshot import saved_state
from ..train.tensorpack import STATISTICS, tensorpack_place
from . import folders, foreign, ours
from .findings import Diagnosis, Piece
from .tree import parsed

LIGHTNING = "pytorch-lightning_version"

#: Format -> who writes it, where nothing in the file says more.
WRITERS = {
    "tf-bundle": "TensorFlow, or save_vars",
    "tf-v1": "TensorFlow's old Saver",
    "torch": "torch.save",
    "dcp": "torch.distributed.checkpoint",
    "keras": "Keras",
    "keras-h5": "Keras",
    "orbax": "Orbax",
    "msgpack": "Flax",
}


def diagnose(path: str | Path, **options: Unpack[Reading]) -> Diagnosis:
    """Return what the checkpoint at *path* would resume of its run, and what not.

    A folder stands for the checkpoint that a resume takes, all of which is read to see that it is
    sound.  Of a single one values are not read, but for the run state: `verify` does that.
    *options* are those of `open`, and what cannot be read raises as it does.
    """
    place = folders.newest(expanded(path))
    kind = folders.kind_of(place)
    if kind is not None:
        return folders.diagnosed(place, kind, **options)
    format, found, passed = meant(place)
    with noting(f"while reading {shown(found)}"), open_as(format, found, **options) as source:
        source.check(source.specs)
        state = saved_state(source)
        if state is not None:
            pieces = tuple(ours.pieces_of(source, state, found.parent))
            return Diagnosis(shown(found), format, "warmstart", pieces, passed)
        pieces = tuple(foreign_pieces(source, found))
        return Diagnosis(shown(found), format, writer_of(source, format, found), pieces, passed)


def meant(place: Path) -> tuple[str, Path, tuple[str, ...]]:
    """Return the format and the path of what *place* stands for, and what is passed over for it."""
    choice = choose(place) if place.is_dir() else None
    if choice is None or choice.chosen is None:
        return (*locate(place), ())
    passed = tuple(each.why_not for each in choice.passed if each.fault)
    return (*locate(choice.chosen.path), passed)


def writer_of(source: Source, format: str, found: Path) -> str:
    """Return who wrote a checkpoint that is not of this library."""
    if LIGHTNING in source.metadata:
        return f"Lightning {parsed(source.metadata[LIGHTNING])}"
    if is_of_tensorpack(format, found):
        return "Tensorpack"
    if OBJECT_GRAPH in source.specs:
        return "tf.train.Checkpoint"
    return WRITERS.get(format, format)


def is_of_tensorpack(format: str, found: Path) -> bool:
    """Return whether a bundle has Tensorpack's statistics beside it."""
    return format == "tf-bundle" and found.with_name(STATISTICS).is_file()


def foreign_pieces(source: Source, found: Path) -> Iterator[Piece]:
    """Yield the findings on a checkpoint that is not of this library."""
    signs = [*foreign.signs_of(source), *foreign.signs_beside(found)]
    for piece in foreign.pieces_of(source.specs, signs, source.aliases):
        beside = piece.name == "epoch" and not piece.saved and found.with_name(STATISTICS).is_file()
        yield epoch_beside(found) if beside else piece


def epoch_beside(found: Path) -> Piece:
    """Return what the statistics of Tensorpack say of the epoch that ended at a checkpoint."""
    try:
        place = tensorpack_place(found, False)
    except CheckpointError as error:
        return Piece("epoch", False, str(error))
    return Piece("epoch", True, f"{place.epoch} ({STATISTICS})" if place else "")
