"""A part of what a recipe makes, from the parts of the tensors that it takes.

    Made(Transpose((1, 0)), (Taken("w"),)) at rows 2 to 4        columns 2 to 4 of "w", transposed

Where a step needs all of its inputs for any part of the result, all is made and the part cut out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..boxes import Box
from ..spec import TensorSpec
from .recipe import Recipe, Step, Taken, spec_from, value_from
from .steps import Cast, Concatenate, Slice, Stack, Take, Transpose, axis_of

if TYPE_CHECKING:
    import numpy as np

#: What makes a part of a step's result: the step, None for the input as it is, and which inputs it
#: then takes, each with the part of it.
Cut = tuple[Step | None, list[tuple[int, Box]]]

Specs = Mapping[str, TensorSpec]
Read = Callable[[str, Box | None], "np.ndarray"]


def value_at(recipe: Recipe, box: Box, specs: Specs, read: Read) -> "np.ndarray":
    """Return *box* of what *recipe* makes of tensors of *specs*.

    `read(name, box)` gives a part of a tensor, all of it for None.
    """
    if isinstance(recipe, Taken):
        return read(recipe.name, box)
    cut = cut_of(recipe.step, box, [spec_from(part, specs) for part in recipe.inputs])
    if cut is None:
        return value_from(recipe, lambda name: read(name, None))[box]
    step, parts = cut
    values = [value_at(recipe.inputs[number], part, specs, read) for number, part in parts]
    return values[0] if step is None else step.value(values)


def cut_of(step: Step, box: Box, specs: Sequence[TensorSpec]) -> Cut | None:
    """Return how *box* of what *step* makes of tensors of *specs* comes of parts of them."""
    spec = specs[0]
    found: Cut | None = None
    match step:
        case Transpose():
            sides = sorted(zip(step.order(spec), box, strict=True), key=lambda pair: pair[0])
            found = step, [(0, tuple(side for _, side in sides))]
        case Cast():
            found = step, [(0, box)]
        case Slice():
            axis = axis_of(step, step.axis, spec)
            begin = range(spec.shape[axis])[step.begin : step.end].start
            found = None, [(0, shifted(box, axis, begin))]
        case Take():
            axis = axis_of(step, step.axis, spec)
            side = slice(step.place, step.place + 1)
            found = Take(axis, 0), [(0, (*box[:axis], side, *box[axis:]))]
        case Concatenate():
            found = step, concatenated(box, axis_of(step, step.axis, spec), specs)
        case Stack():
            axis = step.axis % (len(spec.shape) + 1)
            rest = box[:axis] + box[axis + 1 :]
            found = step, [(n, rest) for n in range(box[axis].start, box[axis].stop)]
    return found


def shifted(box: Box, axis: int, by: int) -> Box:
    """Return *box* moved along one axis."""
    side = slice(box[axis].start + by, box[axis].stop + by)
    return (*box[:axis], side, *box[axis + 1 :])


def concatenated(box: Box, axis: int, specs: Sequence[TensorSpec]) -> list[tuple[int, Box]]:
    """Return which parts of which tensors lie in *box* when they stand behind each other."""
    parts: list[tuple[int, Box]] = []
    begin = 0
    for number, spec in enumerate(specs):
        end = begin + spec.shape[axis]
        side = slice(max(box[axis].start, begin), min(box[axis].stop, end))
        if side.start < side.stop:
            clipped = (*box[:axis], side, *box[axis + 1 :])
            parts.append((number, shifted(clipped, axis, -begin)))
        begin = end
    return parts
