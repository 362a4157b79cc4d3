"""Inference: arrays in, arrays out."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..results import arguments, chosen
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
        args, kwargs = arguments(inputs, input_names)
        outputs = chosen(function(*args, **kwargs), output_names, jax.tree.leaves)
        return [np.array(array_of("an output", leaf)) for leaf in outputs]

    return predict
