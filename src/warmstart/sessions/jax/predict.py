"""Inference: arrays in, arrays out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .arrays import array_of


def predictor(
    function: Callable[..., Any],
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
) -> Callable[..., list[np.ndarray]]:
    """Return *function*, which computes outputs of arrays, as one of one array per input.

    With *input_names* the arrays are passed by keyword.  With *output_names* it must return a
    mapping or a named tuple, of which those are taken.
    """

    def predict(*inputs: Any) -> list[np.ndarray]:
        if input_names is None:
            output = function(*inputs)
        elif len(inputs) != len(input_names):
            raise TypeError(f"the inputs are {', '.join(input_names)}; {len(inputs)} given")
        else:
            output = function(**dict(zip(input_names, inputs, strict=True)))
        return [np.array(array_of("an output", leaf)) for leaf in chosen(output, output_names)]

    return predict


def chosen(output: Any, names: Sequence[str] | None) -> Iterator[Any]:
    """Yield the outputs called *names*, or all in order."""
    if names is None:
        yield from jax.tree.leaves(output)
        return
    by_name = output._asdict() if hasattr(output, "_asdict") else output
    if not isinstance(by_name, Mapping):
        raise ValueError(
            f"the outputs {', '.join(names)} were asked for by name, and the model returns a "
            f"{type(output).__name__}; expected a mapping or a named tuple"
        )
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ValueError(
            f"the model returns no {', '.join(absent)}; it returns {', '.join(by_name)}"
        )
    for name in names:
        yield from jax.tree.leaves(by_name[name])
