"""TensorFlow's tensor bundle, version 2: what `Saver` and `tf.train.Checkpoint` write.

    PREFIX.index                       a sorted table: name -> dtype, shape, place, checksum
    PREFIX.data-00000-of-00001         the values, row by row, little-endian; one file or several
    checkpoint                         text: which PREFIX of the folder is the latest

What this library adds lies in the bundle itself, as a string tensor `_RUN/state`: the note on
roles, aliases and metadata (see `notes`).  TensorFlow sees one more tensor there.

The modules, each with its own layout: `paths` and `state` find a bundle; `index` (on `protos`) says
what is in it; `reader` gives its arrays, through `values` (on `shards`, `strings`, `slices`) one by
one and through `bulk` all at once; `writer` makes one.
"""

from pathlib import Path

from ...source import Source
from .paths import found_in as found_in
from .paths import latest as latest
from .paths import locate as locate
from .paths import prefix_of
from .state import State as State
from .state import read_state as read_state
from .state import write_state as write_state

EXTENSIONS = (".index",)
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, the CRC-32C of the index and of every tensor, and that every byte is accounted for "
    "(up to 63 zeros between tensors align them)"
)


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open the bundle of the prefix *path*; see `Format.open_source`."""
    from .reader import BundleSource

    return BundleSource(path, verify=verify, mmap=mmap)


def save_source(source: Source, path: Path) -> None:
    """Write *source* as the bundle of the prefix *path*; see `Format.save_source`."""
    from .writer import save_bundle

    save_bundle(source, prefix_of(path))
