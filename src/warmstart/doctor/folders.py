"""Checkpoints that are folders of several files, each with pieces of its own.

    transformers' Trainer   trainer_state.json  model.safetensors  optimizer.pt  scheduler.pt
                            rng_state.pth  scaler.pt
    Accelerate              random_states_0.pkl  model.safetensors  optimizer.bin  scheduler.bin
                            sampler.bin  dl_state_dict.bin  custom_checkpoint_0.pkl
    BackupAndRestore        training_metadata.json  latest.weights.h5

Sources: transformers 5.23 (trainer.py), accelerate 1.15 (checkpointing.py), Keras 3.15
(callbacks/backup_and_restore.py).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..binary.urls import shown, urls_in
from ..binary.window import opened
from ..errors import CheckpointError, MissingDependency, UnknownFormat, first_line, noting
from ..formats import locate, open_as
from ..formats.notes import parse_object
from ..formats.tf_bundle.pointer import names_in
from ..spec import TensorSpec
from .findings import Diagnosis, Piece
from .foreign import pieces_of, signs_of
from .signs import Sign, signs_in

MAX_JSON = 100_000_000  # bytes
STEPS = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of folder: a file that only it has, and the files with pieces of a run, as regexes."""

    written_by: str
    sign: str
    files: str
    data: str = ""  # how the data finds its place again where no file has it


KINDS = (
    Kind(
        "transformers' Trainer",
        r"trainer_state\.json",
        r"(optimizer|scheduler|scaler)\.pt|rng_state(_\d+)?\.pth",
        "no state of it: Trainer counts the steps, and goes through the batches before them again",
    ),
    Kind(
        "Accelerate",
        r"random_states_\d+\.pkl",
        r"(optimizer|scheduler|sampler|dl_state_dict)(_\d+)?\.bin|scaler\.pt"
        r"|(random_states|custom_checkpoint)_\d+\.pkl",
    ),
    Kind("Keras' BackupAndRestore", r"training_metadata\.json", r"(?!)"),
)


def newest(folder: Path) -> Path:
    """Return the newest of the `checkpoint-STEP` of Trainer in *folder*, itself if it has none."""
    found = [match for name in names_in(folder) if (match := STEPS.fullmatch(name))]
    found = [match for match in found if kind_of(folder / match[0])]
    return folder / max(found, key=lambda match: int(match[1]))[0] if found else folder


def kind_of(folder: Path) -> Kind | None:
    """Return the kind of *folder*, None when it is none of these."""
    names = names_in(folder)
    return next((k for k in KINDS if any(re.fullmatch(k.sign, name) for name in names)), None)


def diagnosed(folder: Path, kind: Kind, **options: Any) -> Diagnosis:
    """Return what the folder would resume, from all of its files together."""
    specs: dict[str, TensorSpec] = {}
    signs: list[Sign] = []
    aliases: dict[str, str] = {}
    broken: list[Piece] = []
    for file in files_of(folder, kind):
        name = "" if file == folder else file.name
        try:
            with noting(f"while reading {shown(file)}"):
                if file.suffix == ".json":
                    signs += signs_in(parsed(file), name)
                    continue
                with open_as(*locate(file), **options) as source:
                    signs += signs_of(source, name)
                    specs |= source.specs
                    aliases |= source.aliases
        except MissingDependency:
            raise  # which is no fault of the file
        except (CheckpointError, OSError) as error:
            why = f"cannot be read: {urls_in(first_line(error))}"
            broken.append(Piece(name or "variables", False, why))
    pieces = [with_place(piece, kind) for piece in pieces_of(specs, signs, aliases)]
    return Diagnosis(shown(folder), "folder", kind.written_by, (*pieces, *broken))


def files_of(folder: Path, kind: Kind) -> Iterator[Path]:
    """Yield the weights in *folder*, if there are any, and every file with pieces of a run."""
    names = names_in(folder)
    weights = [name for name in names if name.endswith((".weights.h5",))]
    if weights:
        yield folder / weights[0]
    elif holds_weights(folder):
        yield folder
    pattern = re.compile(f"{kind.sign}|{kind.files}")
    yield from (folder / name for name in names if pattern.fullmatch(name))


def holds_weights(folder: Path) -> bool:
    """Return whether *folder* stands for a checkpoint of its model."""
    try:
        locate(folder)
    except UnknownFormat:
        return False
    return True


def parsed(file: Path) -> dict[str, object]:
    """Return the JSON object in *file*."""
    with opened(file) as content:
        return parse_object(content.read(MAX_JSON), "the file")


def with_place(piece: Piece, kind: Kind) -> Piece:
    """Return *piece*; of data that finds its place by other means, how."""
    if piece.name == "data" and not piece.saved and kind.data:
        return Piece("data", None, kind.data)
    return piece
