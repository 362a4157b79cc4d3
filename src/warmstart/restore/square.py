"""Square matrices: their shape does not tell whether they lie the other way, but others do.

A dense kernel of equal sides is turned around where the other kernels whose names end in the same
words are: `kernel` becomes `weight` by a transpose, so this one does too.
"""

from collections import Counter
from collections.abc import Mapping

from ..names import words
from ..spec import TensorSpec
from .recipe import Step
from .steps import Transpose

#: What is taken for a tensor, and the steps that lead to the shape of the variable.
Ways = Mapping[str, tuple[TensorSpec, tuple[Step, ...]]]


def turned_like_others(
    ways: Ways, missing: Mapping[str, TensorSpec]
) -> dict[str, tuple[Step, ...]]:
    """Return for the square ones among *ways* other steps, where most others are turned around."""
    turned: Counter[tuple[str, str]] = Counter()
    square = {}
    for name, (spec, steps) in ways.items():
        shape = missing[name].shape
        ending = (words(name)[-1:] or ("",))[0], (words(spec.name)[-1:] or ("",))[0]
        if len(shape) != 2:
            continue
        if shape[0] == shape[1]:
            square[name] = ending, steps
        else:
            turned[ending] += 1 if any(isinstance(step, Transpose) for step in steps) else -1
    return {
        name: (*steps, Transpose((1, 0)))
        for name, (ending, steps) in square.items()
        if turned[ending] > 0 and not any(isinstance(step, Transpose) for step in steps)
    }
