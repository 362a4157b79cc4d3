"""Whether two buffers hold the same bytes, found out at the speed of memory.

    changed = take_over(old, new)      # *old* holds the bytes of *new* from here on

Both end at the first difference, so that what has changed costs next to nothing to be told apart,
and both free the GIL.
"""

import ctypes
from typing import TYPE_CHECKING

from .stream import c_function

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import numpy as np

#: Bytes that are looked at together: small enough to be in the cache still when they are copied.
CHUNK = 1 << 20
#: Bytes of each part of a buffer that is compared in parts.
PART = 1 << 20
#: Below so many bytes two copies are compared faster than a function of C is called.
SMALL = 1 << 14


def same_bytes(a: "np.ndarray", b: "np.ndarray", other: "Executor | None" = None) -> bool:
    """Return whether *a* and *b*, contiguous arrays of one size, have the same bytes.

    The *other* thread, if there is one, looks at half of what is large.

    >>> import numpy as np
    >>> same_bytes(np.array([0.0]), np.array([-0.0])), same_bytes(np.ones(3), np.ones(3))
    (False, True)
    """
    if a.nbytes < SMALL:
        return a.tobytes() == b.tobytes()
    first, second = as_bytes(a), as_bytes(b)
    if other is None or first.size < 2 * PART:
        return same_part(first, second)
    if not same_part(first[:PART], second[:PART]):
        return False
    middle = first.size // 2
    later = other.submit(same_part, first[middle:], second[middle:])
    return same_part(first[PART:middle], second[PART:middle]) & later.result()


def take_over(old: "np.ndarray", new: "np.ndarray") -> bool:
    """Copy *new* into *old*, an array of the same size, where they differ; return whether they did.

    From the first difference on all is copied: what has changed mostly has changed everywhere.
    """
    if old.nbytes < SMALL:
        differs = old.tobytes() != new.tobytes()
        if differs:
            old[...] = new
        return differs
    first, second = as_bytes(old), as_bytes(new)
    for begin in range(0, first.size, CHUNK):
        if not same_part(first[begin : begin + CHUNK], second[begin : begin + CHUNK]):
            first[begin:] = second[begin:]
            return True
    return False


def as_bytes(array: "np.ndarray") -> "np.ndarray":
    """Return the bytes of a contiguous *array*, a view."""
    import numpy as np

    return array.reshape(-1).view(np.uint8)


def same_part(a: "np.ndarray", b: "np.ndarray") -> bool:
    """Return whether two arrays of equally many bytes are the same."""
    import numpy as np

    call = c_function("memcmp", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
    if call is None:
        return bool(np.array_equal(a, b))
    return call(a.ctypes.data, b.ctypes.data, a.size) == 0
