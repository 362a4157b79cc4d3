"""Weights and models of Keras 3: `.weights.h5`, `.keras`, and sharded weights.

    .weights.h5  = HDF5: <path of the layer in the model>/vars/0, 1, ...   | attribute "name"
    .keras       = a zip archive: metadata.json | config.json | model.weights.h5 [| assets/...]
    .weights.json + *_00000.weights.h5 ...   the same groups over several files

A variable has only a number in the file.  It is named as the model shows it (`Variable.path`), see
`naming`; its path in the file is an alias.  With *like* names are those of another file of the same
model.  bfloat16 is raw values of two bytes with the attribute "dtype".
Source: Keras 3.15, keras/src/saving/saving_lib.py.
"""

from collections.abc import Collection
from pathlib import Path

from ...binary.window import opened
from ...errors import CannotHold
from ...source import Source
from ..joined import joined_by_index

EXTENSIONS = (".weights.h5", ".keras", ".weights.json")
OPTIONS = frozenset({"mmap", "like"})
SAVE_OPTIONS = frozenset({"like"})
C_LIBRARY = "HDF5"
CHECKS = (
    "that HDF5 can read every value; the format has no checksums of its own, and leaves free room "
    "between its parts, so that bytes that nothing accounts for are no fault"
)

#: What a saved model consists of, in this order.
MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


def locate(path: Path) -> Path | None:
    """Return *path* if it is a file called so, or such an archive, or the folder of one."""
    if path.is_dir():
        return path if all((path / member).is_file() for member in MEMBERS) else None
    if not path.is_file():
        return None
    return path if path.name.lower().endswith(EXTENSIONS) or is_archive(path) else None


def found_in(folder: Path, names: Collection[str]) -> dict[Path, list[Path]]:
    """Return each index in *folder* with its shards."""
    return joined_by_index(folder, names, ".weights.json")


def is_archive(path: Path) -> bool:
    """Return whether the file is a zip archive whose first member is one of a saved model."""
    with opened(path) as file:
        start = file.read(30)
        name = file.read(int.from_bytes(start[26:28], "little"))
    return start.startswith(b"PK\3\4") and name in [member.encode() for member in MEMBERS]


def open_source(
    path: Path, *, verify: bool, mmap: bool = True, like: str | Path | None = None
) -> Source:
    """Open what `locate` returned; *verify* finds nothing to check."""
    from ..keras_h5.opening import open_layout

    return open_layout(path, verify=verify, mmap=mmap, like=like)


def save_source(source: Source, path: Path, *, like: str | Path | None = None) -> None:
    """Write *source* as weights or as a model, with the structure of *like* or of its origin."""
    from .writing import save_model, save_weights

    if path.name.lower().endswith(".weights.json"):
        raise CannotHold(
            f"sharded weights are only read; save to {path.name[: -len('.json')]}.h5 instead"
        )
    if path.name.lower().endswith(".keras"):
        save_model(source, path, like)
    else:
        save_weights(source, path, like)
