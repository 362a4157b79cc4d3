"""Writing `.weights.h5` and `.keras`: each variable at the path where Keras looks for it.

The paths are those of a file of the same model (*like*), or those that the source brings along as
aliases because it was read from such a file, perhaps by way of other formats.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from ...binary.atomic import TEMPORARY, replacing, write_fully
from ...binary.mapped import map_file
from ...binary.zip import ZipWriter
from ...errors import CannotHold, UnsupportedCheckpoint
from ...layer import BATCHES
from ...names import leaf_of
from ...names import parent as scope_of
from ...names import parts as parts_of
from ...source import Source
from ..arrays import encodable, note_faults, refuse_unheld
from ..hdf5.source import Hdf5Source
from ..hdf5.writing import Layout, write_hdf5
from .archive import TEXTS, WEIGHTS, bytes_of_member, members_of
from .layers import below
from .naming import VARS, natural
from .notes import attributes_of, parsed
from .optimizers import OPTIMIZER
from .reading import GROUPS

IS_PATH = re.compile(rf"(?:.*/)?{VARS}/[^/]+", re.DOTALL)
ADVICE = (
    "Keras finds a variable by the place of its layer in the model.  Give a file of the same "
    "model: like=FILE, or --like FILE (model.save_weights makes one)."
)

WITHOUT_COUNTERS = f"Only PyTorch counts batches: leave them out with the rule 'drop *{BATCHES}'."


@dataclass(frozen=True, slots=True)
class Structure:
    """Where the variables of a model belong: path -> name in the source; what else it has."""

    names: Mapping[str, str]
    groups: Mapping[str, str]  # path of a layer -> its name
    texts: Mapping[str, str]  # members of an archive
    assets: Mapping[str, memoryview] = field(default_factory=dict)


def save_weights(source: Source, path: Path, like: str | Path | None) -> None:
    """Write *source* as `Model.save_weights` does."""
    layout = layout_of(source, structure_of(source, like))
    with replacing(path) as file:
        write_hdf5(file, source, layout)


def save_model(source: Source, path: Path, like: str | Path | None) -> None:
    """Write *source* as `Model.save` does, with the model of *like* or the one it was read with."""
    structure = structure_of(source, like)
    if "config.json" not in structure.texts:
        raise CannotHold(
            "a .keras file holds the model's configuration beside its values, which nothing here "
            "has.  Give a .keras file of the same model (like=FILE, or --like FILE), or save to "
            f"{path.with_suffix('').name}.weights.h5"
        )
    layout = layout_of(source, structure)
    with replacing(path) as file, beside(path) as weights:
        write_hdf5(weights, source, layout)
        write_archive(file, structure, Path(f"/dev/fd/{weights.fileno()}"))


def write_archive(file: FileIO, structure: Structure, weights: Path) -> None:
    """Write the members in Keras' order."""
    archive = ZipWriter(lambda data: write_fully(file, data))
    for name in ("metadata.json", "config.json"):
        if name in structure.texts:
            archive.add(name, b"", memoryview(structure.texts[name].encode()))
    archive.add(WEIGHTS, b"", memoryview(map_file(weights)))
    for name, content in structure.assets.items():
        archive.add(name, b"", content)
    archive.finish()


@contextmanager
def beside(path: Path) -> Iterator[FileIO]:
    """Yield a new file in the folder of *path* that is gone when the block ends."""
    name = f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY}"
    temporary = path.parent / name
    file = FileIO(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "r+")
    try:
        with file:
            yield file
    finally:
        with suppress(OSError):
            temporary.unlink()


def structure_of(source: Source, like: str | Path | None) -> Structure:
    """Return where each tensor of *source* belongs, or raise with all that belongs nowhere."""
    refuse_unheld("a Keras file", unheld(source), "Rename them, or drop them.")
    structure = recorded(source) if like is None else structure_like(source, Path(like))
    placed = set(structure.names.values())
    homeless = {n: f"{spec}: no place of it is known"
                for n, spec in source.specs.items() if n not in placed}  # fmt: skip
    counters = all(leaf_of(name) == BATCHES for name in homeless)
    refuse_unheld("a Keras file", homeless, WITHOUT_COUNTERS if counters else ADVICE)
    return structure


def unheld(source: Source) -> dict[str, str]:
    """Return by name what no file of this library's can note."""
    faults = note_faults(source)
    return faults | {n: "is not Unicode text" for n in source.specs if not encodable(n)}


def recorded(source: Source) -> Structure:
    """Return the structure that *source* brings along."""
    names = {name: name for name in source.specs if IS_PATH.fullmatch(name)}
    names |= {alias: n for alias, n in source.aliases.items() if IS_PATH.fullmatch(alias)}
    metadata = source.metadata
    groups = parsed(metadata.get(GROUPS, "{}"), f"the metadata {GROUPS}")
    texts = {member: metadata[key] for member, key in TEXTS.items() if key in metadata}
    return Structure(names, groups, texts)


#: What to do where a file of another structure was given, or other names.
SAME_NAMES = (
    "Rename the source's tensors to these (--rename OLD=NEW), or give a file of the same model."
)


def structure_like(source: Source, like: Path) -> Structure:
    """Return the structure of the file *like*, each place with the tensor that has its name."""
    from ..keras_h5.opening import open_layout

    with open_layout(like, verify=False) as other:
        refuse_other_layout(other, like)
        names, faults = placed(source, other)
        refuse_unheld(f"the structure of {like.name}", faults, SAME_NAMES)
        metadata = other.metadata
    groups = parsed(metadata.get(GROUPS, "{}"), f"the metadata {GROUPS}")
    texts = {member: metadata[key] for member, key in TEXTS.items() if key in metadata}
    return Structure(names, groups, texts, assets_in(like))


def refuse_other_layout(other: Hdf5Source, like: Path) -> None:
    """Raise if *like* is no file whose variables have such paths."""
    if not any(IS_PATH.fullmatch(path) for path in other.paths.values()):
        raise UnsupportedCheckpoint(
            f"{like} is no .weights.h5 or .keras file of Keras 3, whose structure could be taken"
        )


def placed(source: Source, other: Hdf5Source) -> tuple[dict[str, str], dict[str, str]]:
    """Return path -> name in *source* for the places in *other*, and by name what does not fit.

    An optimizer of which the source has nothing is left out.
    """
    known = {**source.aliases, **{name: name for name in source.specs}}
    called: dict[str, list[str]] = {name: [name, path] for name, path in other.paths.items()}
    for alias, name in other.aliases.items():
        called[name].append(alias)
    names, faults = dict[str, str](), dict[str, str]()
    for name, path in other.paths.items():
        found = next((known[each] for each in called[name] if each in known), None)
        expected = other.specs[name]
        if found is None:
            faults[name] = f"{expected}: the source has nothing of that name"
        elif source.specs[found].shape != expected.shape:
            faults[name] = f"{expected}: the source has {source.specs[found]}"
        else:
            names[path] = found
    if not any(is_optimizers(path) for path in names):
        faults = {n: f for n, f in faults.items() if not is_optimizers(other.paths[n])}
    return names, faults


def is_optimizers(path: str) -> bool:
    """Return whether the variable at *path* belongs to an optimizer."""
    return parts_of(path)[0] == OPTIMIZER


def assets_in(like: Path) -> dict[str, memoryview]:
    """Return the other members of the archive *like*, such as vocabularies."""
    if like.is_dir() or not like.name.lower().endswith(".keras"):
        return {}
    archive = memoryview(map_file(like))
    if bytes(archive[:2]) != b"PK":
        return {}
    members = members_of(archive)
    others = [name for name in members if name not in (*TEXTS, WEIGHTS)]
    return {name: bytes_of_member(archive, members[name]) for name in others}


def layout_of(source: Source, structure: Structure) -> Layout:
    """Return the file to write: groups with their names, and variables by their numbers."""
    paths = sorted(structure.names, key=lambda path: (scope_of(path), natural(path)))
    saved = {scope_of(path) for path in paths}
    has_optimizer = any(is_optimizers(path) for path in paths)
    groups = {below(group, VARS): name for group, name in structure.groups.items()
              if has_optimizer or not is_optimizers(group)}  # fmt: skip
    attributes = {group: {"name": name} for group, name in sorted(groups.items()) if name}
    attributes[""] = attributes_of(source, {path: structure.names[path] for path in paths})
    datasets = {path: structure.names[path] for path in paths}
    return Layout(datasets, sorted(saved | set(groups)), attributes)
