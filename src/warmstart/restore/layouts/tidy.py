"""A recipe without detours: what one step does and the next undoes is left out."""

from collections.abc import Mapping

from ...spec import TensorSpec
from ..recipe import Made, Recipe, Step, Taken, made, spec_from
from ..steps import Flip, Reshape, Transpose


def tidy(recipe: Recipe, specs: Mapping[str, TensorSpec]) -> Recipe:
    """Return *recipe* with neighbouring steps of one kind made one, and those left out that do
    nothing to tensors of *specs*.
    """
    if isinstance(recipe, Taken):
        return recipe
    inputs = tuple(tidy(part, specs) for part in recipe.inputs)
    step = recipe.step
    (first, *_) = inputs
    if isinstance(first, Made) and (one := united(first.step, recipe.step)):
        step, inputs = one, first.inputs
    if does_nothing(step, spec_from(inputs[0], specs)):
        return inputs[0]
    return made(step, *inputs)


def united(earlier: Step, later: Step) -> Step | None:
    """Return the step that does what both do, if there is one."""
    match earlier, later:
        case Transpose(first), Transpose(second) if first and second:
            return Transpose(tuple(first[axis] for axis in second))
        case Reshape(), Reshape():
            return later
        case Flip(first), Flip(second):
            return Flip(tuple(sorted({*first} ^ {*second})))
    return None


def does_nothing(step: Step, spec: TensorSpec) -> bool:
    """Return whether *step* leaves a tensor of *spec* as it is."""
    match step:
        case Transpose(axes):
            return bool(axes) and axes == tuple(range(len(axes)))
        case Reshape():
            return step.spec([spec]).shape == spec.shape
        case Flip(axes):
            return not axes
    return False
