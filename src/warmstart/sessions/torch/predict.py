"""Inference: arrays in, arrays out, the module as it is in evaluation mode."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..results import arguments, chosen
from .arrays import array_of
from .batches import first_tensor, tensors


def predictor(
    module: nn.Module, input_names: Sequence[str] | None, output_names: Sequence[str] | None
) -> Callable[..., list[np.ndarray]]:
    """Return the inference of *module* as a function of one array per input.

    With *input_names* the arrays are passed by keyword.  With *output_names* the module must
    return a mapping or a named tuple, of which those are taken.
    """

    def predict(*inputs: Any) -> list[np.ndarray]:
        args, kwargs = arguments(inputs, input_names)
        device = first_tensor(module).device
        with evaluating(module), torch.no_grad():
            output = module(*tensors(args, device), **tensors(kwargs, device))
        return [as_array(each) for each in chosen(output, output_names)]

    return predict


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put the module in evaluation mode, and each layer back in its own mode afterwards."""
    modes = [(layer, layer.training) for layer in module.modules()]
    if not any(training for _, training in modes):
        yield
        return
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
        for layer, mode in modes:
            layer.training = mode


def as_array(output: Any) -> np.ndarray:
    """Return one output as an array of its own."""
    return np.array(array_of("an output", output) if isinstance(output, Tensor) else output)
