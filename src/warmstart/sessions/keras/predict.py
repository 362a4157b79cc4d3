"""Inference: arrays in, arrays out, in inference mode, by the model's own compiled function."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np


def predictor(
    model: Any, input_names: Sequence[str] | None, output_names: Sequence[str] | None
) -> Callable[..., list[np.ndarray]]:
    """Return the inference of *model* as a function of one array per input.

    With *input_names* the arrays are passed as a dict.  Outputs are chosen by the keys of a dict,
    or by the `output_names` of a functional model.
    """

    def predict(*inputs: Any) -> list[np.ndarray]:
        output = model.predict_on_batch(arranged(inputs, input_names))
        return [np.asarray(each) for each in chosen(model, output, output_names)]

    return predict


def arranged(inputs: tuple[Any, ...], names: Sequence[str] | None) -> Any:
    """Return *inputs* as a model takes them: one alone, several as a list, or a dict by name."""
    if names is None:
        return inputs[0] if len(inputs) == 1 else list(inputs)
    if len(inputs) != len(names):
        raise TypeError(f"the inputs are {', '.join(names)}; {len(inputs)} given")
    return dict(zip(names, inputs, strict=True))


def chosen(model: Any, output: Any, names: Sequence[str] | None) -> Iterator[Any]:
    """Yield the outputs called *names*, or all in order."""
    if names is None:
        yield from keras.tree.flatten(output)
        return
    by_name = output
    if not isinstance(output, Mapping):
        known = getattr(model, "output_names", ())
        flat = keras.tree.flatten(output)
        by_name = dict(zip(known, flat, strict=True)) if len(known) == len(flat) else {}
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ValueError(
            f"the model returns no {', '.join(absent)}; it returns "
            f"{', '.join(by_name) or 'outputs without names'}"
        )
    for name in names:
        yield from keras.tree.flatten(by_name[name])
