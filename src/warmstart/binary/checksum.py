"""CRC-32C, as TensorFlow's files use it: of whole buffers, in several threads, and masked.

Zip archives have CRC-32, which the package `isal` reckons six times as fast as Python's zlib.
The extension of the package `crc32c` is loaded without that package's `__init__`, which asks for
its own version at a cost of 54 ms, half of what importing NumPy costs.
"""

import os
import sys
from collections.abc import Callable
from functools import cache, lru_cache, reduce
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: Anything with the buffer protocol.
Buffer = Any

MASK = 0xA282EAD8
WORD = 0xFFFFFFFF
POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
POLYNOMIAL_32 = 0xEDB88320  # that of zip archives

#: Below this many bytes a second thread costs more than it saves.
WORTH_A_THREAD = 4 << 20


def find_crc32c() -> Callable[..., int]:
    """Return the package's function `crc32c(buffer, value=0)`, loading as little as will do."""
    if "crc32c" not in sys.modules:
        package = PathFinder.find_spec("crc32c")
        for folder in (package and package.submodule_search_locations) or ():
            for suffix in EXTENSION_SUFFIXES:
                path = Path(folder) / f"_crc32c{suffix}"
                if path.is_file():
                    return load_extension(path)
    import crc32c as package_itself

    return package_itself.crc32c  # type: ignore[no-any-return]


def load_extension(path: Path) -> Callable[..., int]:
    """Return `crc32c` of the extension module at *path*, which no package then owns."""
    loader = ExtensionFileLoader("_crc32c", str(path))
    module = module_from_spec(ModuleSpec("_crc32c", loader, origin=str(path)))
    loader.exec_module(module)
    return module.crc32c  # type: ignore[no-any-return]


#: crc32c(buffer, value=0): the checksum of *buffer*, continuing from *value*; frees the GIL.
crc32c = find_crc32c()


@cache
def find_crc32() -> Callable[[Buffer, int], int]:
    """Return `crc32(buffer, value)` of zip archives: ISA-L's where it is installed, else zlib's."""
    try:
        from isal.isal_zlib import crc32
    except ImportError:
        from zlib import crc32
    return crc32


def crc32(data: Buffer, value: int = 0) -> int:
    """Return the CRC-32 of *data*, continuing from *value*; frees the GIL.

    >>> hex(crc32(b"6789", crc32(b"12345")))
    '0xcbf43926'
    """
    return find_crc32()(data, value)


def mask(crc: int) -> int:
    """Return *crc* as files hold it, so that a checksum of checksums means something.

    >>> hex(mask(crc32c(b"123456789")))
    '0xc78ab0e5'
    """
    return (((crc >> 15) | (crc << 17)) + MASK) & WORD


def unmask(masked: int) -> int:
    """Return the checksum that files hold as *masked*.

    >>> unmask(mask(12345))
    12345
    """
    rotated = (masked - MASK) & WORD
    return ((rotated << 15) | (rotated >> 17)) & WORD


def masked(crcs: "np.ndarray") -> "np.ndarray":
    """Return an array of checksums, uint32, as files hold them."""
    summed: np.ndarray = (crcs >> 15 | crcs << 17) + crcs.dtype.type(MASK)
    return summed


def threads() -> int:
    """Return how many threads this process may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def crc32c_of(data: Buffer) -> int:
    """Return the checksum of *data*, a large one hashed in parts by all the processor's cores."""
    return hashed_in_parts(data, crc32c, POLYNOMIAL)


def crc32_of(data: Buffer) -> int:
    """Return the CRC-32 of *data*, a large one hashed in parts by all the processor's cores."""
    return hashed_in_parts(data, crc32, POLYNOMIAL_32)


def hashed_in_parts(data: Buffer, crc: Callable[[Buffer], int], polynomial: int) -> int:
    """Return the *crc* of *data*, each core's part of it combined."""
    view = memoryview(data).cast("B")
    parts = min(threads(), view.nbytes // WORTH_A_THREAD)
    if parts < 2:
        return crc(view)
    from concurrent.futures import ThreadPoolExecutor  # 4 ms, which a listing does without

    step = -(-view.nbytes // parts)
    pieces = [view[begin : begin + step] for begin in range(0, view.nbytes, step)]
    with ThreadPoolExecutor(parts) as pool:
        hashed = list(zip(pool.map(crc, pieces), map(len, pieces), strict=True))
    return reduce(lambda a, b: (combine(a[0], b[0], b[1], polynomial), a[1] + b[1]), hashed)[0]


def combine(first: int, second: int, length: int, polynomial: int = POLYNOMIAL) -> int:
    """Return the checksum of two buffers in a row; *length* is the bytes of the second.

    >>> combine(crc32c(b"1234"), crc32c(b"56789"), 5) == crc32c(b"123456789")
    True
    """
    return times(shift(length, polynomial), first, polynomial) ^ second


@lru_cache(64)
def shift(length: int, polynomial: int) -> int:
    """Return x^(8 length) modulo *polynomial*: what *length* zero bytes do to a checksum."""
    power, result = 1 << 23, 1 << 31  # x^8 and 1, bits reversed
    while length:
        if length & 1:
            result = times(power, result, polynomial)
        power = times(power, power, polynomial)
        length >>= 1
    return result


def times(a: int, b: int, polynomial: int) -> int:
    """Return the product of two polynomials over GF(2), bits reversed, modulo *polynomial*."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (polynomial if b & 1 else 0)
    return product
