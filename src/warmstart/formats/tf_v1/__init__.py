"""TensorFlow's checkpoints of version 1, from before tensor bundles; only reading.

    PREFIX                      a sorted table (`binary.table`): what there is, and the values
    PREFIX-00000-of-00002       the same, of a sharded one: each has its own part of the whole
    checkpoint                  text: which PREFIX of the folder is the latest

    table   "" -> SavedTensorSlices { 1 meta }      | key of a piece -> SavedTensorSlices { 2 data }
    meta    SavedTensorSliceMeta    1 tensor ... { 1 name | 2 shape | 3 dtype | 4 slice ... }
                                    2 version { 2 min_consumer }
    data    SavedSlice              1 name | 2 slice | 3 TensorProto, with nothing but values

Every tensor is in pieces, most of them in one that is all of it; the keys of pieces are those of
bundles (`tf_bundle.slices`).  TensorFlow itself reads no partitioned tensors from these files, nor
half, complex and quantised ones; here they are read.
Source: TensorFlow 2.21, core/util/{saved_tensor_slice.proto,tensor_slice_writer,
tensor_slice_reader,saved_tensor_slice_util}.
"""

from pathlib import Path

from ...source import Source
from .paths import found_in as found_in
from .paths import locate as locate

#: Such files have no extension of their own: `.ckpt` is as good a name for a bundle.
EXTENSIONS: tuple[str, ...] = ()
OPTIONS = frozenset({"mmap"})
CHECKS = (
    "structure, the CRC-32C of every block of the table, and that every byte is of a tensor in the "
    "header"
)


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open the checkpoint *path*, a file or the pattern of its shards; see `Format.open_source`."""
    from .reader import SlicesSource

    return SlicesSource(path, verify=verify, mmap=mmap)
