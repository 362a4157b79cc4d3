"""Small whole checkpoints to damage: the golden files of the tests, and some written here."""

import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import in_child

from warmstart import formats
from warmstart.errors import CheckpointError
from warmstart.source import DictSource

GOLDEN = Path(__file__).parents[1] / "tests/golden"

MAX_SEED = 100_000  # bytes; larger ones are too slow to damage thoroughly


class Seed(NamedTuple):
    """A checkpoint: the format, where in its files it is opened, and the files."""

    format: str
    path: str
    files: dict[str, bytes]

    @property
    def in_child(self) -> bool:
        """Whether it is read by a C library, so in a child process."""
        return in_child(self.format)


@cache
def seeds_of(format: str) -> list[Seed]:
    """Return all seeds of a format."""
    whole = [seed_of(format, path) for name, path in golden() if name == format]
    return [seed for seed in [*whole, *written(format)] if seed is not None]


@cache
def golden() -> list[tuple[str, Path]]:
    """Return the format and the place of every golden checkpoint."""
    found = {}
    folders = [p for p in GOLDEN.rglob("*") if p.is_dir() and p.name != "__pycache__"]
    files = [p for p in GOLDEN.rglob("*") if p.is_file() and p.suffix not in (".py", ".json")]
    for path in sorted([*folders, *files]):
        try:
            format, at = formats.locate(path)
        except CheckpointError:
            continue
        found[at] = format
    return [(format, at) for at, format in found.items()]


PLAIN = {"fc/kernel": np.arange(6.0).reshape(2, 3), "b": np.ones(3, "float32")}
RICH = DictSource(
    {**PLAIN, "w": np.zeros((0, 2)), "words": np.array([b"a", b"bc"], object)},
    roles={"fc/kernel": "trainable"}, aliases={"tied": "b"}, metadata={"run": "1"},
)  # fmt: skip

#: Format -> under which names checkpoints of which tensors are written here.
WRITTEN: dict[str, dict[str, DictSource]] = {
    "tf-bundle": {"m": RICH},
    "npz": {"m.npz": RICH, "m.npy": DictSource({"x": PLAIN["b"]})},
    "safetensors": {"m.safetensors": DictSource(PLAIN, metadata={"run": "1"})},
    "torch": {"m.pt": DictSource(PLAIN)},
    "msgpack": {"m.msgpack": DictSource(PLAIN)},
    "dcp": {"m": DictSource(PLAIN)},
}


def written(format: str) -> list[Seed | None]:
    """Return the seeds of a format that this library writes."""
    found = []
    for name, source in WRITTEN.get(format, {}).items():
        with tempfile.TemporaryDirectory() as folder:
            at = Path(folder) / "x" / name
            at.parent.mkdir()
            if name.endswith(".npy"):
                np.save(at, source.read("x"))
            else:
                formats.save_source(source, at, format=format)
            found.append(seed_of(*formats.locate(at)))
    return found


def seed_of(format: str, path: Path) -> Seed | None:
    """Return the seed at *path*: the files that reading it opens.

    None if they are too large, or no checkpoint by themselves.
    """
    root = path if path.is_dir() else path.parent
    opened: set[Path] = set()
    watched.append(opened)
    whole = is_whole(format, path)
    watched.clear()
    inside = {p for p in opened if p.is_relative_to(root) and p.is_file()} | siblings(path)
    if in_child(format):  # which opened them
        inside = {p for p in root.rglob("*") if p.is_file()} if path.is_dir() else {path}
    files = {str(p.relative_to(root)): p.read_bytes() for p in inside}
    if not whole or sum(map(len, files.values())) > MAX_SEED:
        return None
    return Seed(format, "" if path.is_dir() else path.name, files)


def siblings(path: Path) -> set[Path]:
    """Return the files of a bundle, of which only the prefix is a path."""
    return set() if path.is_dir() else set(path.parent.glob(f"{path.name}[.-]*"))


watched: list[set[Path]] = []


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note the files that are opened."""
    if event == "open" and watched and isinstance(arguments[0], str | Path):
        watched[0].add(Path(arguments[0]))


sys.addaudithook(watch)


def is_whole(format: str, path: Path) -> bool:
    """Return whether a checkpoint can be read; a part of one may look like one."""
    try:
        with formats.open_as(format, path, untrusted=True) as source:
            source.read_all()
    except CheckpointError:
        return False
    return True


def put(files: dict[str, bytes], folder: Path) -> None:
    """Write *files* into a new *folder*."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
