"""Inference: arrays in, arrays out, the model as it is in evaluation mode."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..results import arguments, chosen

#: Arguments by which a model is told whether it is in training: of Keras and most, of Sonnet.
MODES = ("training", "is_training")


def predictor(
    root: Any, input_names: Sequence[str] | None, output_names: Sequence[str] | None
) -> Callable[..., list[np.ndarray]]:
    """Return the inference of *root* as a function of one array per input.

    With *input_names* the arrays are passed by keyword.  With *output_names* it must return a
    mapping or a named tuple, of which those are taken.  A `training` or `is_training` that it takes
    is False.
    """
    if not callable(root):
        raise TypeError(
            f"a {type(root).__qualname__} cannot be called, so it predicts nothing; pass the "
            "module itself"
        )
    mode = mode_of(root, training=False)

    def predict(*inputs: Any) -> list[np.ndarray]:
        args, kwargs = arguments(inputs, input_names)
        output = root(*tensors(args), **tensors(kwargs), **mode)
        return [np.array(each) for each in chosen(output, output_names)]

    return predict


def mode_of(root: Any, *, training: bool) -> dict[str, bool]:
    """Return the argument that tells *root* whether it is in training, if it takes one."""
    try:
        parameters = inspect.signature(type(root).__call__).parameters
    except (TypeError, ValueError):
        return {}
    return {name: training for name in MODES if name in parameters}


def tensors(batch: Any) -> Any:
    """Return *batch* with every array in it, however deep, as a tensor."""
    return tf.nest.map_structure(
        lambda x: tf.convert_to_tensor(x) if isinstance(x, np.ndarray | np.generic) else x, batch
    )
