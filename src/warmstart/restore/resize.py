"""Interpolating a tensor to another shape: position embeddings for longer or shorter inputs.

Places are cells of equal width, and values stand at their centres: place i of n new ones lies at
(i + 1/2) * size / n - 1/2 of the old ones, as in torch.nn.functional.interpolate with
align_corners=False.  Nothing is smoothed when there are fewer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import RuleError
from ..spec import TensorSpec, shape_text
from .fit import is_float
from .recipe import Step

if TYPE_CHECKING:
    import numpy as np

#: The parameter of the cubic that PyTorch and most image libraries use.
SHARPNESS = -0.75


@dataclass(frozen=True, slots=True)
class Resize(Step):
    """Interpolate along each axis whose size differs, linearly or with a cubic.

    With *grid* the places of the one axis that differs, behind the first *grid* ones, are a square
    grid in row order, interpolated in both directions; the first ones stay as they are.
    """

    shape: tuple[int, ...]
    cubic: bool = False
    grid: int | None = None

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        if len(spec.shape) != len(self.shape) or 0 in spec.shape or not is_float(spec.dtype):
            raise RuleError(f"{self} cannot be made of {spec.name!r}, which is {spec}")
        if self.grid is not None:
            self.sides(spec.shape)
        return spec._replace(shape=self.shape)

    def sides(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return the axis with the grid, and its side before and after.  Raise RuleError."""
        axes = [axis for axis, size in enumerate(shape) if size != self.shape[axis]]
        cells = [(shape[axis] - self.grid, self.shape[axis] - self.grid) for axis in axes]  # type: ignore[operator]
        square = all(n > 0 and math.isqrt(n) ** 2 == n for pair in cells for n in pair)
        if len(axes) != 1 or not square:
            raise RuleError(
                f"{self} takes one axis of {self.grid} places and a square grid; found "
                f"{shape_text(shape)} for {shape_text(self.shape)}"
            )
        return axes[0], math.isqrt(cells[0][0]), math.isqrt(cells[0][1])

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        wide = array.astype("float64" if array.dtype == "float64" else "float32", copy=False)
        if self.grid is None or array.shape == self.shape:
            for axis, size in enumerate(self.shape):
                wide = resized(wide, axis, size, cubic=self.cubic)
        else:
            wide = self.on_grid(wide, self.grid)
        return wide.astype(array.dtype, copy=False)

    def on_grid(self, array: "np.ndarray", first: int) -> "np.ndarray":
        """Return *array* with the grid behind its *first* places interpolated."""
        import numpy as np

        axis, before, after = self.sides(array.shape)
        alone, cells = np.split(array, [first], axis)
        cells = cells.reshape(*array.shape[:axis], before, before, *array.shape[axis + 1 :])
        for direction in (axis, axis + 1):
            cells = resized(cells, direction, after, cubic=self.cubic)
        flat = cells.reshape(*array.shape[:axis], after * after, *array.shape[axis + 1 :])
        return np.concatenate([alone, flat], axis)

    def __str__(self) -> str:
        kind = " cubic" if self.cubic else ""
        grid = "" if self.grid is None else f" grid {self.grid}"
        return f"interpolate to {shape_text(self.shape)}{kind}{grid}"


def resized(array: "np.ndarray", axis: int, size: int, *, cubic: bool) -> "np.ndarray":
    """Return *array* with *size* places along *axis*, interpolated between those it has."""
    import numpy as np

    n = array.shape[axis]
    if n == size:
        return array
    at = (np.arange(size) + 0.5) * (n / size) - 0.5
    at = at if cubic else np.maximum(at, 0)
    below = np.floor(at)
    weights = cubic_weights(at - below) if cubic else [(0, 1 - (at - below)), (1, at - below)]
    along = (1,) * axis + (size,) + (1,) * (array.ndim - axis - 1)
    total = np.zeros((*array.shape[:axis], size, *array.shape[axis + 1 :]), array.dtype)
    for offset, weight in weights:
        places = np.clip(below.astype(int) + offset, 0, n - 1)
        total += np.take(array, places, axis) * weight.astype(array.dtype).reshape(along)
    return total


def cubic_weights(t: "np.ndarray") -> "list[tuple[int, np.ndarray]]":
    """Return the weights of the four places around, *t* (0 to 1) behind the second of them."""
    import numpy as np

    a = SHARPNESS
    near = np.array([a + 2, -(a + 3), 0, 1])  # of the distance, up to 1
    far = np.array([a, -5 * a, 8 * a, -4 * a])  # from 1 to 2
    return [
        (-1, np.polyval(far, t + 1)),
        (0, np.polyval(near, t)),
        (1, np.polyval(near, 1 - t)),
        (2, np.polyval(far, 2 - t)),
    ]
