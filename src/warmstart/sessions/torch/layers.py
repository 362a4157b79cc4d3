"""The layers of a module whose kind is known, with the names that their parameters have.

A subclass counts as what it derives from.  What a parametrization computes (weight norm, spectral
norm) is no variable, so that a layer may lack its weight here.
"""

from collections.abc import Iterator, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ...layer import Classes, Layer, kind_of
from ...names import joined
from .variables import Variables

CELLS = {"layers": "num_layers", "bidirectional": "bidirectional"}

#: Modules -> their kind, and by what attribute they say each option; the first that fits.
KINDS: tuple[Classes, ...] = (
    ((NonDynamicallyQuantizableLinear,), "", {}),  # a part of MultiheadAttention
    ((nn.Linear,), "dense", {}),
    ((_ConvTransposeNd,), "conv_transpose", {"groups": "groups"}),
    ((_ConvNd,), "conv", {"groups": "groups"}),
    ((nn.Embedding, nn.EmbeddingBag), "embedding", {}),
    ((_BatchNorm,), "batch_norm", {}),
    ((nn.LayerNorm, nn.RMSNorm), "layer_norm", {}),
    ((nn.GroupNorm,), "group_norm", {}),
    ((nn.LSTM,), "lstm", CELLS),
    ((nn.LSTMCell,), "lstm", {}),
    ((nn.GRU,), "gru", CELLS),
    ((nn.GRUCell,), "gru", {}),
    ((nn.MultiheadAttention,), "multi_head_attention", {"heads": "num_heads"}),
)


def layers_of(module: nn.Module, variables: Variables) -> Iterator[Layer]:
    """Yield the layers below *module*, one that hangs at several places at each of them."""
    places = {(h.path, h.leaf): h.name for v in variables.by_name.values() for h in v.hanging}
    for path, owner in module.named_modules(remove_duplicate=False):
        kind, options = kind_of(owner, KINDS)
        if kind:
            yield Layer(kind, path, leaves_of(owner, path, places), options)


def leaves_of(
    module: nn.Module, path: str, places: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """Return the parameters and buffers of *module* and of its parts: name inside it -> name."""
    return {
        joined(below, leaf, "."): places[scope, leaf]
        for below, owner in module.named_modules()
        for scope in [joined(path, below, ".") if below else path]
        for leaf in (*owner._parameters, *owner._buffers)
        if (scope, leaf) in places
    }
