"""The step that takes one of several equal pieces: a gate of an LSTM, the query of attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import RuleError
from ...spec import TensorSpec, shape_text
from ..recipe import Step
from ..steps import axis_of

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Piece(Step):
    """Take piece *index*, counted from 0, of *count* equal ones along an axis."""

    axis: int
    index: int
    count: int

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        axis = axis_of(self, self.axis, spec)
        side, rest = divmod(spec.shape[axis], self.count)
        if rest:
            raise RuleError(
                f"{self}: {spec.name!r} is {shape_text(spec.shape)}, and {spec.shape[axis]} is not "
                f"a multiple of {self.count}"
            )
        return spec._replace(shape=(*spec.shape[:axis], side, *spec.shape[axis + 1 :]))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        axis = self.axis % array.ndim
        side = array.shape[axis] // self.count
        kept = slice(self.index * side, (self.index + 1) * side)
        return array[(slice(None),) * axis + (kept,)]

    def __str__(self) -> str:
        return f"piece {self.index + 1} of {self.count} along axis {self.axis}"
