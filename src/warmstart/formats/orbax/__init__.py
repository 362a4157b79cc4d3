"""Orbax: a folder of arrays in zarr's layout, and JSON that says what tree they are the leaves of.

    step/                         or an item by itself, or a folder of steps ("100", "step_100")
      _CHECKPOINT_METADATA        JSON: handlers, times, custom_metadata
      ITEM/                       "default", "state", "params", ...
        _METADATA                 JSON: keys, kind and value type of every leaf, custom_metadata
        manifest.ocdbt, d/        the keys "a.b/.zarray", "a.b/0.0" of an OCDBT database, or
        a.b/.zarray, a.b/0.0      the same as files; "zarr.json", "c/0/0" for zarr 3
        checkpoint                before 0.6: msgpack with small leaves, and PLACEHOLDER://a.b
        _strings.json             leaves that are text
      ITEM/metadata               an item that is JSON

A leaf's name is its keys joined by "/" ("params/Dense_0/kernel"), below its item where several
items hold arrays.  Numbers are arrays without dimensions; None, empty containers, text, JSON items
and custom metadata are metadata.  A folder that Orbax did not finish is refused, or passed over in
favour of the step before it.

Databases and arrays that are not compressed, or by zstd as Orbax does it, are read here, any others
through tensorstore.  What is written is one item: zarr 2 in one uncompressed OCDBT file, which
Orbax restores; roles, aliases and metadata are its custom metadata (key "warmstart",
`formats.notes`).
Sources: orbax-checkpoint 0.2.7, 0.5.3 and 0.12.8, _src/metadata/tree.py and
_src/serialization/tensorstore_utils.py; https://zarr-specs.readthedocs.io.
"""

from pathlib import Path

from ...source import Source

EXTENSIONS = (".orbax",)
FOLDER = True
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, and the CRC-32C of an OCDBT database: arrays have no checksums unless they are "
    "compressed by a codec that has one, so changed values go unnoticed"
)
C_LIBRARY = "tensorstore"
#: Files whose folder is meant when one of them is named.
MARKS = ("_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", "checkpoint", "orbax.checkpoint")


def locate(path: Path) -> Path | None:
    """Return the folder of an item or of a step; of a folder of steps, that of the latest."""
    if path.name.endswith(EXTENSIONS) and not path.exists():
        from ...binary.folder import standing

        path = standing(path)
    if path.name in MARKS and path.is_file():
        path = path.parent
    if not path.is_dir():
        return None
    from .places import located

    return located(path)


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open what `locate` returned; *verify* adds nothing, since what has a checksum is checked."""
    from .reading import OrbaxSource

    return OrbaxSource(path, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* to the folder *path* as one item, which takes the place of an older one."""
    from .writing import write

    write(source, path)
