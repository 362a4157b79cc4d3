"""The layers of a model whose kind is known, with the names that their variables have.

A subclass counts as what it derives from.  Of a Bidirectional layer, both directions are one.
"""

from collections.abc import Iterator
from typing import Any

from keras import layers as L
from keras.src.layers.convolutional.base_conv import BaseConv
from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

from ...layer import Classes, Layer, kind_of
from ...names import inside
from .variables import Variables
from .walk import places

#: Layers -> their kind, and by what attribute they say each option; the first that fits.
KINDS: tuple[Classes, ...] = (
    ((L.Dense,), "dense", {}),
    ((BaseDepthwiseConv,), "depthwise_conv", {}),
    ((BaseSeparableConv,), "separable_conv", {}),
    ((BaseConvTranspose,), "conv_transpose", {}),
    ((BaseConv,), "conv", {"groups": "groups"}),
    ((L.Embedding,), "embedding", {}),
    ((L.BatchNormalization,), "batch_norm", {}),
    ((L.LayerNormalization,), "layer_norm", {}),
    ((L.GroupNormalization,), "group_norm", {}),
    ((L.LSTM, L.LSTMCell), "lstm", {}),
    ((L.GRU, L.GRUCell), "gru", {"reset_after": "reset_after"}),
    ((L.MultiHeadAttention,), "multi_head_attention", {"heads": "num_heads"}),
)

#: What Keras calls the parts of attention -> the attributes that hold them.
PARTS = {"query_dense": "query", "key_dense": "key", "value_dense": "value",
         "output_dense": "attention_output"}  # fmt: skip


def layers_of(model: Any, variables: Variables) -> Iterator[Layer]:
    """Yield the layers of *model* whose kind is known; parts of such a layer are not yielded."""
    names = [name for name, each in variables.by_name.items() if each.owner is not None]
    names += list(variables.aliases)
    known: list[str] = []
    for scope, layer in places(model):
        if any(scope == each or inside(scope, each) is not None for each in known):
            continue
        kind, options = kind_in(layer)
        if kind:
            known.append(scope)
            yield Layer(kind, scope, leaves_of(scope, names), options)


def kind_in(layer: Any) -> tuple[str, dict[str, Any]]:
    """Return the kind of *layer*, "" where it is none that is known, and its options."""
    if isinstance(layer, L.Bidirectional):
        kind, options = kind_in(layer.forward_layer)
        both = {**options, "layers": 1, "bidirectional": True}
        return (kind, both) if kind in ("lstm", "gru") else ("", {})
    return kind_of(layer, KINDS)


def leaves_of(scope: str, names: list[str]) -> dict[str, str]:
    """Return those of *names* that stand in *scope*: name inside the layer, of Keras -> name."""
    found = {}
    for name in names:
        leaf = inside(name, scope) if scope else name
        if leaf is not None:
            part, attribute = next(
                ((part, a) for a, part in PARTS.items() if inside(leaf, a)), ("", "")
            )
            found[f"{part}/{inside(leaf, attribute)}" if part else leaf] = name
    return found
