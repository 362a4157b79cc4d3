"""Two arrays of one dtype and shape: in how many places they differ, and by how much."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .statistics import CHUNK, as_numbers

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Comparison:
    """Distances are over the places that differ; None where no distance can be measured.

    A relative distance is |a - b| / max(|a|, |b|).  Places where a NaN or an infinity stands
    against something else, or two NaN differ in their bytes, are counted in `unmeasured`.
    """

    size: int
    differing: int
    max_abs: float | None
    max_rel: float | None
    unmeasured: int

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        return asdict(self)

    def __str__(self) -> str:
        parts = [f"{self.differing} of {self.size} values differ"]
        if self.max_abs is not None:
            parts.append(f"max abs {self.max_abs:.3g}, max rel {self.max_rel:.3g}")
        if self.unmeasured:
            parts.append(f"NaN or Inf at {self.unmeasured} of them")
        return "; ".join(parts)


def compare(a: "np.ndarray", b: "np.ndarray", *, rtol: float = 0, atol: float = 0) -> Comparison:
    """Return how *a* and *b*, equal in dtype and shape, differ beyond the tolerance.

    At zero tolerance bytes are compared.  Strings and booleans are always compared exactly.
    """
    differing = unmeasured = 0
    max_abs: float | None = None
    max_rel: float | None = None
    exact = (rtol == 0 and atol == 0) or a.dtype.kind in "Ob"
    for x, y in paired_chunks(a, b):
        where = different_bytes(x, y) if exact else too_far(x, y, rtol, atol)
        if not where.any():
            continue
        differing += int(where.sum())
        if a.dtype.kind == "O":
            continue
        distance, relative = distances(x[where], y[where])
        unmeasured += int(where.sum()) - distance.size
        max_abs = largest(max_abs, distance)
        max_rel = largest(max_rel, relative)
    return Comparison(a.size, differing, max_abs, max_rel, unmeasured)


def paired_chunks(a: "np.ndarray", b: "np.ndarray") -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Yield the values of both arrays piece by piece, flat and in native byte order."""
    a, b = a.reshape(-1), b.reshape(-1)
    native = a.dtype.newbyteorder("=")
    for begin in range(0, a.size, CHUNK):
        end = begin + CHUNK
        yield a[begin:end].astype(native, copy=False), b[begin:end].astype(native, copy=False)


def different_bytes(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    """Return where the bytes of two flat arrays differ."""
    import numpy as np

    if a.dtype.kind == "O":
        return np.asarray(a != b, bool)
    width = min(a.dtype.itemsize, 8)
    words = np.asarray(a.view(f"u{width}") != b.view(f"u{width}"))
    return np.asarray(words.reshape(a.size, -1).any(axis=1))


def too_far(a: "np.ndarray", b: "np.ndarray", rtol: float, atol: float) -> "np.ndarray":
    """Return where two flat arrays are further apart than the tolerance."""
    import numpy as np

    distance, scale = apart(a, b)
    a, b = as_values(a), as_values(b)
    with np.errstate(invalid="ignore"):
        near = distance <= atol + rtol * scale
        both_nan = np.isnan(a) & np.isnan(b)
        close: np.ndarray = (a == b) | both_nan | (near & np.isfinite(scale))
    return ~close


def distances(a: "np.ndarray", b: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return absolute and relative distances of the values of two flat arrays, where finite."""
    import numpy as np

    distance, scale = apart(a, b)
    finite = np.isfinite(distance)
    distance, scale = distance[finite], scale[finite]
    return distance, distance / np.where(scale > 0, scale, 1)


def apart(a: "np.ndarray", b: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return |a - b| and max(|a|, |b|) in float64; integers of any size are subtracted exactly."""
    import numpy as np

    a, b = as_values(a), as_values(b)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.maximum(np.abs(a.astype(wide(a))), np.abs(b.astype(wide(b))))
        if a.dtype.kind in "iu":  # the difference modulo 2**64 is the distance itself
            high, low = np.maximum(a, b).astype(np.uint64), np.minimum(a, b).astype(np.uint64)
            return (high - low).astype(np.float64), scale
        return np.abs(a - b), scale


def as_values(values: "np.ndarray") -> "np.ndarray":
    """Return *values* in a type that NumPy computes with; complex numbers stay complex."""
    import numpy as np

    return values.astype(np.complex128) if values.dtype.kind == "c" else as_numbers(values)


def wide(values: "np.ndarray") -> type:
    """Return the 64-bit float type, real or complex, that *values* are measured in."""
    import numpy as np

    return np.complex128 if values.dtype.kind == "c" else np.float64


def largest(known: float | None, values: "np.ndarray") -> float | None:
    """Return the largest of *values* and what is *known* so far."""
    if not values.size:
        return known
    found = float(values.max())
    return found if known is None else max(known, found)
