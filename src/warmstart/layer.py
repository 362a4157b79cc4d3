"""What kind of layer variables belong to, for carrying them over between frameworks.

The same layer has other names and other axis orders in every framework.  A session that knows its
layers' kinds says so; `restore.layouts` knows how each kind lies in each convention.

    convention   who writes so                                        a dense kernel
    torch        PyTorch: `weight`, `running_mean`                    (out, in)
    keras        Keras and TensorFlow: `kernel`, `gamma`              (in, out)
    flax         Flax NNX and linen: `kernel`, `scale`                (in, out)

A layer refuses to know files, rules and values.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: The conventions of names and axis orders.
CONVENTIONS = ("torch", "keras", "flax")

#: What PyTorch's batch norm counts and no other framework's does; without `momentum` alone does it
#: matter, and old files of PyTorch lack it too.
BATCHES = "num_batches_tracked"

#: Kinds of layer, each with the options that decide how its variables lie.
KINDS: dict[str, tuple[str, ...]] = {
    "dense": (),
    "conv": ("groups",),  # of any rank; a depthwise one of PyTorch and Flax has groups = inputs
    "depthwise_conv": (),  # Keras' own
    "separable_conv": (),  # Keras' own: a depthwise and a pointwise kernel
    "conv_transpose": ("groups", "transpose_kernel"),
    "embedding": (),
    "batch_norm": (),
    "layer_norm": (),
    "group_norm": (),
    "lstm": ("layers", "bidirectional"),
    "gru": ("layers", "bidirectional", "reset_after"),
    "multi_head_attention": ("heads",),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a live model: its kind, the scope it stands in, and its variables."""

    kind: str
    path: str  # "encoder.0.conv1" or "encoder/0/conv1", as the session's names are written
    variables: Mapping[str, str]  # name inside the layer, of the convention -> the session's name
    options: Mapping[str, Any] = field(default_factory=dict)  # of those in KINDS


#: Classes of a framework's layers, their kind, and by what attribute they say each option.
Classes = tuple[tuple[type, ...], str, Mapping[str, str]]


def kind_of(layer: object, table: Iterable[Classes]) -> tuple[str, dict[str, Any]]:
    """Return the kind of *layer* and its options by the first of *table* that fits, or "" and {}.

    A subclass counts as what it derives from.
    """
    for classes, kind, attributes in table:
        if isinstance(layer, classes):
            return kind, {option: getattr(layer, name) for option, name in attributes.items()}
    return "", {}
