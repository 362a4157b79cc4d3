"""Inference: arrays in, arrays out, the module as it is in evaluation mode."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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


def arguments(
    inputs: tuple[Any, ...], names: Sequence[str] | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return *inputs* as positional and keyword arguments."""
    if names is None:
        return inputs, {}
    if len(inputs) != len(names):
        raise TypeError(f"the inputs are {', '.join(names)}; {len(inputs)} given")
    return (), dict(zip(names, inputs, strict=True))


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


def chosen(output: Any, names: Sequence[str] | None) -> Iterator[Any]:
    """Yield the outputs called *names*, or all in order."""
    if names is None:
        return flattened(output)
    by_name = output._asdict() if hasattr(output, "_asdict") else output
    if not isinstance(by_name, Mapping):
        raise ValueError(
            f"the outputs {', '.join(names)} were asked for by name, and the module returns a "
            f"{type(output).__name__}; expected a mapping or a named tuple"
        )
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ValueError(
            f"the module returns no {', '.join(absent)}; it returns {', '.join(by_name)}"
        )
    return chain.from_iterable(flattened(by_name[name]) for name in names)


def flattened(output: Any) -> Iterator[Any]:
    """Yield the leaves of nested mappings, lists and tuples, in order."""
    match output:
        case Mapping():
            output = output.values()
        case list() | tuple():
            pass
        case _:
            yield output
            return
    for each in output:
        yield from flattened(each)


def as_array(output: Any) -> np.ndarray:
    """Return one output as an array of its own."""
    return np.array(array_of("an output", output) if isinstance(output, Tensor) else output)
