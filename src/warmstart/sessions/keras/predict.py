"""Inference: arrays in, arrays out, in inference mode, by the model's own compiled function."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ..results import arguments, chosen


def predictor(
    model: Any, input_names: Sequence[str] | None, output_names: Sequence[str] | None
) -> Callable[..., list[np.ndarray]]:
    """Return the inference of *model* as a function of one array per input.

    With *input_names* the arrays are passed as a dict.  Outputs are chosen by the keys of a dict,
    or by the `output_names` of a functional model.
    """

    def predict(*inputs: Any) -> list[np.ndarray]:
        output = model.predict_on_batch(arranged(inputs, input_names))
        if output_names is not None:
            output = by_name(model, output)
        return [np.asarray(each) for each in chosen(output, output_names, keras.tree.flatten)]

    return predict


def arranged(inputs: tuple[Any, ...], names: Sequence[str] | None) -> Any:
    """Return *inputs* as a model takes them: one alone, several as a list, or a dict by name."""
    alone, named = arguments(inputs, names)
    if names is not None:
        return named
    return alone[0] if len(alone) == 1 else list(alone)


def by_name(model: Any, output: Any) -> Mapping[str, Any]:
    """Return what *model* returned by name: its own, or the model's; nothing where none has one."""
    if isinstance(output, Mapping):
        return output
    names, flat = getattr(model, "output_names", ()), keras.tree.flatten(output)
    return dict(zip(names, flat, strict=True)) if len(names) == len(flat) else {}
