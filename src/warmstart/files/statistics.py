"""What can be said of a tensor's values in a line: their range, mean, and what is not a number."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..spec import dtype_name

if TYPE_CHECKING:
    import numpy as np

CHUNK = 1 << 14  # elements looked at together: their float64 copies stay in the cache


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of all values that are finite; None where there are none.

    Complex numbers are measured by their magnitude, strings by their length in bytes: `of` says so.
    """

    of: str  # "value", "magnitude" or "length"
    size: int
    nans: int
    infs: int
    zeros: int
    min: float | int | None
    max: float | int | None
    mean: float | None
    std: float | None

    @property
    def constant(self) -> bool:
        """Return whether there are several values and all are the same finite one."""
        same = self.min is not None and self.min == self.max
        return same and self.size > 1 and not self.nans + self.infs and self.of == "value"

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as JSON holds them."""
        return asdict(self)

    def __str__(self) -> str:
        if self.min is None or self.max is None or self.mean is None or self.std is None:
            return "no values" if not self.size else f"no finite values{self.odd()}"
        of = "" if self.of == "value" else f"{self.of} "
        ends = f"{of}min {self.min:.6g}  max {self.max:.6g}"
        return f"{ends}  mean {self.mean:.6g}  std {self.std:.6g}{self.odd()}"

    def odd(self) -> str:
        """Return the part of the text that counts what is not finite."""
        return f"  NaN {self.nans}" * bool(self.nans) + f"  Inf {self.infs}" * bool(self.infs)


def statistics(array: "np.ndarray") -> Statistics:
    """Return the statistics of *array*, a chunk of it in float64 at a time."""
    import numpy as np

    moments = Moments(0, 0.0, 0.0)
    nans = infs = zeros = 0
    least: float | int | None = None
    most: float | int | None = None
    for values in chunks(array):
        finite = finite_of(values)
        nans += int(np.isnan(values).sum()) if finite.size < values.size else 0
        infs += int(np.isinf(values).sum()) if finite.size < values.size else 0
        zeros += values.size - int(np.count_nonzero(values))
        if finite.size:
            low, high = finite.min().item(), finite.max().item()
            least = low if least is None else min(least, low)
            most = high if most is None else max(most, high)
            moments = moments.joined(moments_of(finite))
    mean, std = moments.mean_and_std()
    return Statistics(measured(array), array.size, nans, infs, zeros, least, most, mean, std)


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values there are, their mean, and the sum of squared distances from it."""

    count: int
    mean: float
    squares: float

    def joined(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of values (Chan, Golub, LeVeque 1979)."""
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        between = step * step * (self.count * other.count / count)
        return Moments(count, mean, self.squares + other.squares + between)

    def mean_and_std(self) -> tuple[float | None, float | None]:
        """Return the mean and the standard deviation, None for no values."""
        if not self.count:
            return None, None
        return self.mean, math.sqrt(self.squares / self.count)


def finite_of(values: "np.ndarray") -> "np.ndarray":
    """Return those of *values* that are finite, without a copy when all are."""
    import numpy as np

    where = np.isfinite(values)
    return values if where.all() else values[where]


def moments_of(values: "np.ndarray") -> Moments:
    """Return the moments of finite numbers."""
    import numpy as np

    with np.errstate(over="ignore"):  # sums of numbers near 1e308
        values = values.astype(np.float64, copy=False)
        mean = float(values.mean())
        return Moments(values.size, mean, float(np.square(values - mean).sum()))


def measured(array: "np.ndarray") -> str:
    """Return what the statistics of *array* are of."""
    return {"c": "magnitude", "O": "length"}.get(array.dtype.kind, "value")


def chunks(array: "np.ndarray") -> Iterator["np.ndarray"]:
    """Yield the values of *array* piece by piece, as numbers that NumPy computes with exactly."""
    flat = array.reshape(-1)
    for begin in range(0, flat.size, CHUNK):
        yield as_numbers(flat[begin : begin + CHUNK])


def as_numbers(values: "np.ndarray") -> "np.ndarray":
    """Return *values* in a type whose arithmetic is NumPy's own: magnitudes, lengths, wider floats.

    Integers and booleans keep every digit.
    """
    import numpy as np

    if values.dtype.kind == "O":
        return np.fromiter(map(len, values), np.int64, len(values))
    if values.dtype.kind == "c":
        return np.abs(values.astype(np.complex128))
    if values.dtype.kind in "iu":
        return values
    if dtype_name(values.dtype).startswith(("int", "uint", "bool")):
        return values.astype(np.int64)
    with np.errstate(invalid="ignore"):  # a NaN that signals
        return values.astype(np.float64)
