"""What is odd in a tensor's values, found as fast as they are read: NaN, Inf, one value only.

A piece is looked at while it is in the cache; nothing as large as the tensor is made.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..spec import dtype_name
from .statistics import as_numbers

if TYPE_CHECKING:
    import numpy as np

#: Bytes looked at together.
PIECE = 1 << 19

#: Types of a sign and a magnitude, which NumPy orders slowly; their bits are ordered fast.
SIGN_FIRST = frozenset(
    ("float16", "bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3fn", "float8_e5m2")
)


@dataclass(frozen=True, slots=True)
class Oddities:
    """Counts over all values; a complex number is odd where one of its parts is."""

    size: int
    nans: int
    infs: int
    low: float  # of the values that are no NaN; low is above high where there are none
    high: float

    @property
    def constant(self) -> bool:
        """Return whether there are several values and all are the same finite one."""
        return self.size > 1 and not self.nans + self.infs and self.low == self.high

    def joined(self, other: "Oddities") -> "Oddities":
        """Return the oddities of both sets of values."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        size, nans = self.size + other.size, self.nans + other.nans
        return Oddities(size, nans, self.infs + other.infs, low, high)

    def __iter__(self) -> Iterator[str]:
        """Yield what is worth a note, in words."""
        if self.nans or self.infs:
            yield f"{self.nans} NaN and {self.infs} Inf of {self.size} values"
        if self.constant:
            yield "all zero" if self.low == 0 else f"all {self.low:g}"


def oddities(array: "np.ndarray") -> Oddities:
    """Return what is odd in the values of *array*; nothing is in strings."""
    found = Oddities(0, 0, 0, math.inf, -math.inf)
    if array.dtype.kind == "O":
        return found
    flat, step = array.reshape(-1), max(PIECE // array.dtype.itemsize, 1)
    for begin in range(0, flat.size, step):
        found = found.joined(oddities_of(flat[begin : begin + step]))
    return found


def oddities_of(piece: "np.ndarray") -> Oddities:
    """Return what is odd in one *piece*.

    The smallest and the largest value tell of any NaN or infinity, so that these are counted only
    where there are some.
    """
    is_complex = piece.dtype.kind == "c"
    ends = as_parts(piece) if is_complex else as_numbers(ends_of(piece))
    low, high = ends.min().item(), ends.max().item()
    if not (math.isfinite(low) and math.isfinite(high)):
        return counted(as_parts(piece))
    if is_complex:  # parts that are the same do not make one value of all, but zeros do
        low, high = min(low, 0), max(high, 0)
    return Oddities(piece.size, 0, 0, low, high)


def ends_of(piece: "np.ndarray") -> "np.ndarray":
    """Return a few values of *piece*, its smallest and largest and any NaN among them.

    Types that NumPy does not order fast are ordered by their bits.
    """
    import numpy as np

    if dtype_name(piece.dtype) in SIGN_FIRST:
        bits, signed = piece.view(f"u{piece.itemsize}"), piece.view(f"i{piece.itemsize}")
        ends = [bits.min(), bits.max(), *np.array([signed.min(), signed.max()]).view(bits.dtype)]
        return np.array(ends).view(piece.dtype)
    if piece.dtype.kind in "fiub":
        return np.array([piece.min(), piece.max()])
    return seen_in(piece.view(np.uint8)).view(piece.dtype)


def seen_in(raw: "np.ndarray") -> "np.ndarray":
    """Return which bytes there are in *raw*, counted two at a time."""
    import numpy as np

    pairs = np.bincount(raw[: raw.size & ~1].view(np.uint16), minlength=1 << 16).reshape(256, 256)
    seen = np.flatnonzero(pairs.any(axis=0) | pairs.any(axis=1))
    return np.append(seen, raw[-1]).astype(np.uint8)


def as_parts(piece: "np.ndarray") -> "np.ndarray":
    """Return the values of *piece* as numbers, a row each: real and imaginary part if complex."""
    if piece.dtype.kind == "c":
        return piece.view(f"f{piece.dtype.itemsize // 2}").reshape(-1, 2)
    return as_numbers(piece).reshape(-1, 1)


def counted(values: "np.ndarray") -> Oddities:
    """Return the oddities of *values*, a row of parts each, that have some."""
    import numpy as np

    nan = np.isnan(values).any(axis=1)
    inf = np.isinf(values).any(axis=1) & ~nan
    known = values[~np.isnan(values)]
    low, high = (known.min().item(), known.max().item()) if known.size else (math.inf, -math.inf)
    return Oddities(len(values), int(nan.sum()), int(inf.sum()), low, high)
