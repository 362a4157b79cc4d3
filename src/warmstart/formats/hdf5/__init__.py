"""HDF5 files through h5py: every dataset by its path, checked before any of it is read.

    file = Hdf5File.at(path)                 # walks all groups, reads no values
    file.datasets["model_weights/dense/dense/kernel:0"].shape
    file.array("..."), file.part("...", index), file.attributes("model_weights")

The bytes are parsed by a C library, so what our own readers promise of hostile files is not
promised here; but nothing outside the file is ever opened (external links, external storage and
virtual datasets are refused where they are met), groups that hold one another are not followed, no
filter is looked for on the disk, and a file that claims more than compression could give is
refused.
Values that lie in one piece are views of the mapped file; HDF5 is not asked for them.
Source: the HDF5 File Format Specification 3.0, and h5py 3.14.
"""

from pathlib import Path

from ...binary import window

MAGIC = b"\x89HDF\r\n\x1a\n"
#: Where a file may begin: after a user block, whose size is one of these (or a larger power of 2).
USER_BLOCKS = (0, 512, 1024, 2048)


def is_hdf5(path: Path) -> bool:
    """Return whether the file begins as HDF5 does, perhaps after a user block."""
    with window.opened(path) as file:  # `opened` is a module of this package
        for begin in USER_BLOCKS:
            file.seek(begin)
            if file.read(len(MAGIC)) == MAGIC:
                return True
    return False
