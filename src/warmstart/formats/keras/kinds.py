"""The variables of Keras' layers and optimizers, by kind, in the order in which they are saved.

A layer is saved as vars/0, vars/1 ... : its trainable variables and then the others, each in the
order of their making.  Source: Keras 3.15, keras/src/layers and keras/src/optimizers (`build` and
`save_own_variables` of each class).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

CONV = ("kernel", "bias?use_bias")
CELL = ("kernel", "recurrent_kernel", "bias?use_bias")
NORM = ("gamma?scale", "beta?center")
SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias?use_bias")

#: kind (the class in snake case) -> its variables; "bias?use_bias" is there if the option is on.
LAYERS: dict[str, tuple[str, ...]] = {
    "dense": CONV,
    "einsum_dense": ("kernel", "bias?bias_axes"),
    **{f"{depth}conv{n}d": CONV for n in (1, 2, 3) for depth in ("", "depthwise_")},
    **{f"conv{n}d_transpose": CONV for n in (1, 2, 3)},
    **{f"separable_conv{n}d": SEPARABLE for n in (1, 2)},
    "embedding": ("embeddings",),
    "batch_normalization": (*NORM, "moving_mean", "moving_variance"),
    "layer_normalization": NORM,
    "group_normalization": NORM,
    "rms_normalization": ("scale",),
    "normalization": ("mean", "variance", "count"),
    "p_re_lu": ("alpha",),
    "simple_rnn_cell": CELL,
    "lstm_cell": CELL,
    "gru_cell": CELL,
    "conv_lstm_cell": CELL,
    "attention": ("scale?use_scale", "concat_score_weight?score_mode"),
    "additive_attention": ("scale?use_scale",),
    "seed_generator": ("seed_generator_state",),
    "mean": ("total", "count"),
}

#: Layers whose parts have names of their own: kind -> attribute -> (name, kind).
PROJECTIONS = {
    "query_dense": ("query", "dense"),
    "key_dense": ("key", "dense"),
    "value_dense": ("value", "dense"),
    "output_dense": ("attention_output", "dense"),
}
PARTS: dict[str, dict[str, tuple[str, str]]] = {
    "multi_head_attention": PROJECTIONS | {f"_{key}": part for key, part in PROJECTIONS.items()},
    "group_query_attention": PROJECTIONS | {f"_{key}": part for key, part in PROJECTIONS.items()},
    "grouped_query_attention": PROJECTIONS | {f"_{key}": p for key, p in PROJECTIONS.items()},
    "simple_rnn": {"cell": ("simple_rnn_cell", "simple_rnn_cell")},
    "lstm": {"cell": ("lstm_cell", "lstm_cell")},
    "gru": {"cell": ("gru_cell", "gru_cell")},
    **{f"conv_lstm{n}d": {"cell": ("conv_lstm_cell", "conv_lstm_cell")} for n in (1, 2, 3)},
}

#: Variables that are never trained, by their last name.
UNTRAINED = frozenset(("moving_mean", "moving_variance", "mean", "variance", "count"))

#: kind of optimizer -> what it keeps of each variable: all slots of a group for the first variable,
#: then for the second ...; then the next group.
ADAM = (("momentum", "velocity"), ("velocity_hat?amsgrad",))
OPTIMIZERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "adam": ADAM,
    "adam_w": ADAM,
    "lamb": ADAM[:1],
    "adamax": (("momentum", "norm"),),
    "adadelta": (("accumulated_grad", "accumulated_delta_var"),),
    "adagrad": (("accumulator",),),
    "ftrl": (("accumulator", "linear"),),
    "lion": (("momentum",),),
    "sgd": (("momentum?momentum",),),
    "rm_sprop": (("velocity",), ("momentum?momentum",), ("average_gradient?centered",)),
    "schedule_free_adam_w": ADAM[:1],
}
#: The same for Keras 2, which calls a slot Adam/m/dense/kernel.
OLD_OPTIMIZERS = {"adam": (("m", "v"),), "adam_w": (("m", "v"),), "sgd": (("m",),)}
#: What any optimizer may keep before these.
KEPT_FIRST = (("average?use_ema",), ("gradient_accumulator?gradient_accumulation_steps",))


def variables_of(
    kind: str | None, config: Mapping[str, Any] | None, count: int
) -> Sequence[str] | None:
    """Return the names of the *count* variables of a layer, None where they are not certain.

    >>> variables_of("dense", {"use_bias": False}, 1), variables_of("dense", None, 2)
    (['kernel'], ['kernel', 'bias'])
    >>> variables_of("batch_normalization", None, 3) is None      # gamma or beta?
    True
    """
    known = LAYERS.get(kind or "")
    if known is None:
        return None
    if config is not None:
        found = [name for name in (chosen(item, config) for item in known) if name]
        return found if len(found) == count else None
    fixed = [item for item in known if "?" not in item]
    optional = [item for item in known if "?" in item]
    extra = count - len(fixed)
    ways = list(combinations(optional, extra)) if 0 <= extra <= len(optional) else []
    if len(ways) != 1:
        return None
    return [item.partition("?")[0] for item in known if item in fixed or item in ways[0]]


def chosen(item: str, config: Mapping[str, Any]) -> str | None:
    """Return the name in *item*, None if the option it hangs on is off."""
    name, _, option = item.partition("?")
    return name if not option or config.get(option, True) not in (False, None, 0, "dot") else None


def kind_in(name: str) -> str | None:
    """Return the kind of layer that an automatic name tells, None for any other name.

    >>> kind_in("dense_12"), kind_in("conv2d"), kind_in("head")
    ('dense', 'conv2d', None)
    """
    kind = re.sub(r"_\d+$", "", name)
    return kind if kind in LAYERS or kind in PARTS else None


def snake_case(class_name: str) -> str:
    """Return the name that Keras gives a group after a class.

    >>> snake_case("Conv2DTranspose"), snake_case("PReLU"), snake_case("LSTMCell")
    ('conv2d_transpose', 'p_re_lu', 'lstm_cell')
    """
    letters = re.sub(r"\W", "", class_name)
    letters = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", letters)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", letters).lower()
