"""Room for large arrays, which the system has back the moment that nobody needs it.

    room = array_room((4096, 1024), np.dtype("float32"))     # its values are still to be set

What is given back to the C library stays with the process: a model of 1 GiB that is filled tensor
by tensor leaves holes that the next tensor does not fit into.
"""

import math
import mmap
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

#: Bytes below which the C library does as well.
LARGE = 1 << 20


def array_room(shape: tuple[int, ...], dtype: "np.dtype") -> "np.ndarray":
    """Return an array whose values are still to be set; a large one begins at a page."""
    import numpy as np

    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes < LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype)
    try:
        pages = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError):  # as many maps as a process may have, or no memory: NumPy says
        return np.empty(shape, dtype)
    with suppress(OSError):  # a system without huge pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.ndarray(shape, dtype, pages)
