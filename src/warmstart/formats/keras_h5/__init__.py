"""HDF5 files: weights and models of Keras 1 and 2, and any other file of datasets.

    / or /model_weights    layer_names = [...]           the layers in the order of the model
      <layer>              weight_names = ["dense/kernel:0", ...]
        dense/kernel:0     a dataset at <layer>/<weight name>
      top_level_model_weights
    /optimizer_weights     weight_names
    attributes of /        model_config, training_config, keras_version, backend

A list too long for an attribute is cut into layer_names0, layer_names1 ...  Variables are called as
in the file, without `:0`; a name that two layers have gets its layer before it.  Datasets that no
list names, and those of other libraries, are called by their path.
Source: Keras 3.15, keras/src/legacy/saving/legacy_h5_format.py; tf_keras 2.21, hdf5_format.py.
"""

from pathlib import Path

from ...source import Source
from ..hdf5 import is_hdf5

EXTENSIONS = (".h5", ".hdf5")
OPTIONS = frozenset({"mmap", "like"})
SAVE_OPTIONS = frozenset({"like"})
C_LIBRARY = "HDF5"
CHECKS = (
    "that HDF5 can read every value, and the checksums of those datasets that have some; the "
    "format leaves free room between its parts, so bytes that nothing accounts for are no fault"
)


def locate(path: Path) -> Path | None:
    """Return *path* if it is a file called so, or one that begins as HDF5 does."""
    if not path.is_file():
        return None
    return path if path.name.lower().endswith(EXTENSIONS) or is_hdf5(path) else None


def open_source(
    path: Path, *, verify: bool, mmap: bool = True, like: str | Path | None = None
) -> Source:
    """Open what `locate` returned; HDF5 checks checksums whether *verify* asks for it or not."""
    from .opening import open_layout

    return open_layout(path, verify=verify, mmap=mmap, like=like)


def save_source(source: Source, path: Path, *, like: str | Path | None = None) -> None:
    """Write *source* in the layout above, with the layers and the configuration of *like*."""
    from .writing import save_legacy

    save_legacy(source, path, like)
