"""Statistics: buffers that a layer moves by itself in training mode, and not in evaluation mode.

    batch and instance norm           running_mean, running_var, num_batches_tracked
    parametrizations.spectral_norm    _u, _v     beside `original`, the weight
    utils.spectral_norm (older)       weight_u, weight_v     beside `weight_orig`

They belong to a weight: who wants it still wants them still too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

RUNNING = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of one layer."""

    layer: nn.Module
    buffers: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]  # what they belong to


def statistics_in(module: nn.Module) -> Iterator[Statistics]:
    """Yield the statistics of every layer of *module* that has some."""
    for layer in module.modules():
        yield from running(layer)
        yield from spectral(layer)
        if isinstance(layer, ParametrizationList):
            yield from parametrized(layer)


def running(layer: nn.Module) -> Iterator[Statistics]:
    """Yield the running mean and variance of a normalisation layer, PyTorch's or another's."""
    buffers = buffers_of(layer, RUNNING)
    if len(buffers) > 1:
        parameters = dict(layer.named_parameters(recurse=False))
        scale = parameters.get("weight")
        yield Statistics(layer, buffers, tuple(parameters.values()) if scale is None else (scale,))


def spectral(layer: nn.Module) -> Iterator[Statistics]:
    """Yield the vectors that the older spectral_norm keeps in the layer itself."""
    for leaf, weight in layer.named_parameters(recurse=False):
        stem = leaf.removesuffix("_orig")
        buffers = buffers_of(layer, (stem + "_u", stem + "_v"))
        if stem != leaf and buffers:
            yield Statistics(layer, buffers, (weight,))


def parametrized(weight: ParametrizationList) -> Iterator[Statistics]:
    """Yield the vectors of a spectral_norm that parametrizes *weight*."""
    for layer in weight:
        buffers = buffers_of(layer, ("_u", "_v"))
        if buffers:
            yield Statistics(layer, buffers, tuple(weight.parameters(recurse=False)))


def buffers_of(layer: nn.Module, leaves: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return those of *leaves* that are buffers of *layer*."""
    found = (layer._buffers.get(leaf) for leaf in leaves)
    return tuple(buffer for buffer in found if buffer is not None)
