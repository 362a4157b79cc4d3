"""The steps of which recipes are made: what a rule can do to values.

Axes count from 0, or from the end when negative.  A step says what comes of shapes before any value
is read, and refuses what does not fit with both sides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import RuleError
from ..spec import TensorSpec, dtype_name, numpy_dtype, shape_text
from .fit import INTEGERS, holds, kind_of
from .recipe import Made, Recipe, Step, made

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Transpose(Step):
    """Put the axes into another order: axis i of the result is axis `axes[i]`; () reverses them."""

    axes: tuple[int, ...] = ()

    def order(self, spec: TensorSpec) -> tuple[int, ...]:
        """Return the order of axes for a tensor of *spec*."""
        rank = len(spec.shape)
        order = tuple(a + rank if a < 0 else a for a in self.axes) or tuple(range(rank))[::-1]
        if sorted(order) != list(range(rank)):
            n = len(self.axes)
            needs = f"needs {n} axes" if n != rank else f"does not name each of {n} axes once"
            raise RuleError(f"{self} {needs}; {spec.name!r} is {shape_text(spec.shape)}")
        return order

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        shape = spec.shape
        new = tuple([shape[axis] for axis in self.order(spec)]) if self.axes else shape[::-1]
        return TensorSpec(spec.name, spec.dtype, new, spec.role)

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        return arrays[0].transpose(self.axes or None)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        order = self.order(specs[0])
        return (made(Transpose(tuple(order.index(axis) for axis in range(len(order)))), ""),)

    def __str__(self) -> str:
        return " ".join(["transpose", *map(str, self.axes)])


@dataclass(frozen=True, slots=True)
class Reshape(Step):
    """Give the same values in the same order another shape; one side may be -1."""

    shape: tuple[int, ...]

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        known = math.prod(side for side in self.shape if side != -1)
        shape = self.shape
        if shape.count(-1) == 1 and known and spec.size % known == 0:
            shape = tuple(spec.size // known if side == -1 else side for side in shape)
        if -1 in shape or math.prod(shape) != spec.size:
            raise RuleError(
                f"{self} cannot hold {spec.name!r}, which is {shape_text(spec.shape)} "
                f"({spec.size} values)"
            )
        return spec._replace(shape=shape)

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        return arrays[0].reshape(self.shape)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        return (made(Reshape(specs[0].shape), ""),)

    def __str__(self) -> str:
        return " ".join(["reshape", *map(str, self.shape)])


@dataclass(frozen=True, slots=True)
class Cast(Step):
    """Give values another dtype; what rounding loses is lost."""

    dtype: str

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        real = kind_of(self.dtype) != "complex"
        if "string" in (spec.dtype, self.dtype) or (kind_of(spec.dtype) == "complex" and real):
            raise RuleError(f"{self} cannot be done to {spec.name!r}, which is {spec}")
        return spec._replace(dtype=self.dtype)

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        values = in_dtype(array, self.dtype)
        if not holds(self.dtype, dtype_name(array.dtype)) and is_beyond(array, values, self.dtype):
            raise RuleError(f"{self} cannot be done: there are values beyond {self.dtype}")
        return values

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...] | None:
        before = specs[0].dtype
        return (made(Cast(before), ""),) if holds(self.dtype, before) else None

    def __str__(self) -> str:
        return f"cast {self.dtype}"


@dataclass(frozen=True, slots=True)
class Slice(Step):
    """Keep *begin* to *end* (half-open) along an axis; None is where the axis begins or ends."""

    axis: int
    begin: int | None
    end: int | None

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        axis = axis_of(self, self.axis, spec)
        size = spec.shape[axis]
        if any(abs(side) > size for side in (self.begin or 0, self.end or 0)):
            raise RuleError(f"{self} goes beyond {spec.name!r}, which is {shape_text(spec.shape)}")
        kept = len(range(size)[self.begin : self.end])
        return spec._replace(shape=(*spec.shape[:axis], kept, *spec.shape[axis + 1 :]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        before = self.axis % array.ndim
        return array[(slice(None),) * before + (slice(self.begin, self.end),)]

    def __str__(self) -> str:
        sides = ("" if side is None else str(side) for side in (self.begin, self.end))
        return f"slice axis {self.axis} {':'.join(sides)}"


@dataclass(frozen=True, slots=True)
class Pad(Step):
    """Add *before* and *after* places along an axis, filled with *fill*."""

    axis: int
    before: int
    after: int
    fill: float = 0

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        axis = axis_of(self, self.axis, spec)
        if not can_hold(spec.dtype, self.fill):
            raise RuleError(f"{self} cannot be done to {spec.name!r}, which is {spec}")
        size = spec.shape[axis] + self.before + self.after
        return spec._replace(shape=(*spec.shape[:axis], size, *spec.shape[axis + 1 :]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        import numpy as np

        (array,) = arrays
        widths = [(0, 0)] * array.ndim
        widths[self.axis] = (self.before, self.after)
        return np.pad(array, widths, constant_values=self.fill)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        size = specs[0].shape[self.axis]
        return (made(Slice(self.axis, self.before, self.before + size), ""),)

    def __str__(self) -> str:
        return f"pad axis {self.axis} {self.before}:{self.after} with {self.fill:g}"


@dataclass(frozen=True, slots=True)
class Concatenate(Step):
    """Put tensors one behind the other along an axis."""

    axis: int

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        first = specs[0]
        axis = axis_of(self, self.axis, first)
        others = {spec.shape[:axis] + spec.shape[axis + 1 :] for spec in specs}
        if len({len(spec.shape) for spec in specs} | {spec.dtype for spec in specs}) != 2 or (
            len(others) != 1
        ):
            raise RuleError(
                f"{self} needs tensors that are alike but for that axis; found {listed(specs)}"
            )
        size = sum(spec.shape[axis] for spec in specs)
        return first._replace(shape=(*first.shape[:axis], size, *first.shape[axis + 1 :]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        import numpy as np

        return np.concatenate(arrays, self.axis)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        ends = [0]
        for spec in specs:
            ends.append(ends[-1] + spec.shape[self.axis])
        return tuple(made(Slice(self.axis, begin, end), "") for begin, end in pairwise(ends))

    def __str__(self) -> str:
        return f"concatenate axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Add(Step):
    """Add tensors of one shape up: two biases that a framework keeps as one."""

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        if len({(spec.dtype, spec.shape) for spec in specs}) != 1:
            raise RuleError(f"only tensors that are alike can be added; found {listed(specs)}")
        return specs[0]

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return total

    def __str__(self) -> str:
        return "add"


@dataclass(frozen=True, slots=True)
class Fill(Step):
    """Give a tensor like the input, of one value everywhere."""

    fill: float

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        return specs[0]

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        import numpy as np

        return np.full_like(arrays[0], self.fill)

    def __str__(self) -> str:
        return f"fill {self.fill:g}"


@dataclass(frozen=True, slots=True)
class Flip(Step):
    """Turn the order along axes around."""

    axes: tuple[int, ...]

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        if len({axis_of(self, axis, spec) for axis in self.axes}) < len(self.axes):
            raise RuleError(f"{self} names an axis of {spec.name!r} twice")
        return spec

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        import numpy as np

        return np.flip(arrays[0], self.axes)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        return (made(self, ""),)

    def __str__(self) -> str:
        return " ".join(["flip", *map(str, self.axes)])


@dataclass(frozen=True, slots=True)
class Stack(Step):
    """Put tensors of one shape behind each other along a new axis."""

    axis: int

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        first, rank = specs[0], len(specs[0].shape) + 1
        if len({(spec.dtype, spec.shape) for spec in specs}) != 1:
            raise RuleError(f"{self} needs tensors that are alike; found {listed(specs)}")
        if not -rank <= self.axis < rank:
            raise RuleError(f"{self}: {first.name!r} is {shape_text(first.shape)}")
        axis = self.axis % rank
        return first._replace(shape=(*first.shape[:axis], len(specs), *first.shape[axis:]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        import numpy as np

        return np.stack(arrays, self.axis)

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...]:
        return tuple(made(Take(self.axis, place), "") for place in range(len(specs)))

    def __str__(self) -> str:
        return f"stack axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Take(Step):
    """Keep one place of an axis, without the axis."""

    axis: int
    place: int

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        axis = axis_of(self, self.axis, spec)
        if not 0 <= self.place < spec.shape[axis]:
            raise RuleError(f"{self} is not in {spec.name!r}, which is {shape_text(spec.shape)}")
        return spec._replace(shape=(*spec.shape[:axis], *spec.shape[axis + 1 :]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        before = self.axis % array.ndim
        return array[(slice(None),) * before + (self.place, ...)]

    def of(self, inputs: tuple[Recipe, ...]) -> Recipe:
        (whole,) = inputs
        if isinstance(whole, Made) and whole.step == Stack(self.axis):
            return whole.inputs[self.place]  # else each of very many parts would need all others
        return Made(self, inputs)

    def __str__(self) -> str:
        return f"take {self.place} of axis {self.axis}"


def in_dtype(array: "np.ndarray", dtype: str) -> "np.ndarray":
    """Return *array* in *dtype*, itself where it has that; what does not fit is not looked for.

    Some types of 8 bits and fewer become each other by way of a wider one alone.
    """
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        try:
            return array.astype(numpy_dtype(dtype), copy=False)
        except TypeError:
            return array.astype(np.float64).astype(numpy_dtype(dtype))


def is_beyond(array: "np.ndarray", values: "np.ndarray", dtype: str) -> bool:
    """Return whether *values*, which are *array* in another *dtype*, are others by more than
    rounding: infinite, or whole numbers that the dtype does not have.
    """
    import numpy as np

    if dtype == "bool" or not array.size:
        return False
    if dtype not in INTEGERS:
        return bool(np.any(np.isfinite(array) & ~np.isfinite(values)))
    if not np.all(np.isfinite(array)):
        return True
    lowest, highest = limits(dtype)
    return int(array.min()) < lowest or int(array.max()) > highest


def limits(dtype: str) -> tuple[int, int]:
    """Return the least and the greatest of the whole numbers of *dtype*."""
    bits, signed = INTEGERS[dtype]
    return -(2**bits) if signed else 0, 2**bits - 1


def can_hold(dtype: str, number: float) -> bool:
    """Return whether *number* is one of *dtype*, but for rounding.

    >>> can_hold("int8", 3.0), can_hold("int8", 0.5), can_hold("float16", 1e9)
    (True, False, False)
    """
    import numpy as np

    if dtype == "string":
        return False
    if dtype == "bool":
        return number in (0, 1)
    if dtype in INTEGERS:
        lowest, highest = limits(dtype)
        return lowest <= number <= highest and number == int(number)
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.array(number).astype(numpy_dtype(dtype))
    return bool(np.isfinite(held) or not math.isfinite(number))


def listed(specs: Sequence[TensorSpec]) -> str:
    """Return *specs* as a message shows them."""
    return ", ".join(f"{spec.name!r} {spec}" for spec in specs)


def axis_of(step: Step, axis: int, spec: TensorSpec) -> int:
    """Return *axis* counted from 0; raise if *spec* does not have it."""
    rank = len(spec.shape)
    if not -rank <= axis < rank:
        raise RuleError(f"{step}: {spec.name!r} is {shape_text(spec.shape)} and has no such axis")
    return axis % rank
