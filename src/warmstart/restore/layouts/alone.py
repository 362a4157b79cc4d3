"""A layer of a file in another convention, where no model says what it should look like.

What shapes do not tell, options say: `heads` of attention, `multiplier` of a depthwise convolution,
`layers` and `bidirectional` of an LSTM or GRU.
"""

from collections.abc import Mapping

from ...spec import TensorSpec
from ..recipe import Taken, after, spec_from
from . import attention, kinds, plain, recurrent
from .side import CannotCarryError, Recipes, Side

#: kind -> the options it takes here.
OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(plain.NAMES, ()),
    **dict.fromkeys(("depthwise_conv", "separable_conv"), ("multiplier",)),
    **dict.fromkeys(recurrent.GATES, ("layers", "bidirectional")),
    "multi_head_attention": ("heads",),
}

#: The parts that Keras keeps for each input by itself.
DEPTHWISE = (("depthwise_conv", "kernel"), ("separable_conv", "depthwise_kernel"))


def leaves(kind: str, convention: str, options: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the leaves of a layer, each with the names that *convention* itself has for it.

    What a rule has carried over already is not taken for what it was before.
    """
    if kind in plain.NAMES:
        return plain.own_leaves(kind, convention)
    return kinds.leaves(kind, convention, options)


def is_of_kind(kind: str, leaves: Mapping[str, TensorSpec]) -> bool:
    """Return whether a layer with *leaves* may be of *kind*: it has the tensor that makes it one.

    A dense kernel has two axes and that of a convolution more, so that each finds its own where a
    pattern means both.
    """
    if kind not in plain.NAMES:
        return bool(leaves)
    main, *_ = plain.NAMES[kind]
    rank = len(leaves[main].shape) if main in leaves else 0
    if kind == "batch_norm":
        return "moving_mean" in leaves
    if kind in ("dense", "embedding"):
        return rank == 2
    return rank > 2 if kind in plain.CONVOLUTIONS else rank > 0


def in_convention(kind: str, have: Side, convention: str) -> Recipes:
    """Return what makes the leaves of *convention*, by their names, of those of *have*.

    Raise CannotCarryError.
    """
    want = Side(convention, wanted(kind, have, convention), have.options)
    names = kinds.leaves(kind, convention, have.options)
    found = kinds.convert(kind, have, want)
    return {names[leaf][0]: recipe for leaf, recipe in found.items()}


def wanted(kind: str, have: Side, convention: str) -> dict[str, TensorSpec]:
    """Return what the leaves in *convention* look like, as far as it matters."""
    if kind in plain.NAMES:
        return {part: plain_leaf(kind, part, have, convention) for part in have.leaves}
    some = next(iter(have.leaves.values()))
    if kind in recurrent.GATES:
        every = recurrent.leaves(kind, convention, have.options)
        return {leaf: some._replace(shape=(2, 0)) for leaf in every if ".dense_" not in leaf}
    parts = attention.parts_of(have)
    if convention == "torch":
        return dict.fromkeys([*attention.TORCH_PACKED, "output.weight", "output.bias"], some)
    heads = have.options.get("heads")
    if not heads:
        raise CannotCarryError("how many heads there are no shape tells: write heads N")
    return {
        leaf: headed(leaf, spec_from(recipe, have.leaves), heads) for leaf, recipe in parts.items()
    }


def headed(leaf: str, spec: TensorSpec, heads: int) -> TensorSpec:
    """Return *spec*, without an axis of heads, with one."""
    axis = 0 if leaf == "output.kernel" else len(spec.shape) - 1
    if leaf == "output.bias":
        return spec
    side, rest = divmod(spec.shape[axis], heads)
    if rest:
        raise CannotCarryError(f"{spec.shape[axis]} outputs cannot be those of {heads} heads")
    shape = (*spec.shape[:axis], heads, side, *spec.shape[axis + 1 :])
    return spec._replace(shape=shape)


def plain_leaf(kind: str, part: str, have: Side, convention: str) -> TensorSpec:
    """Return what a part that stands alone looks like in *convention*."""
    spec = spec_from(after(Taken(part), plain.to_keras(kind, part, have)), have.leaves)
    if (kind, part) in DEPTHWISE:
        spec = spec._replace(shape=depthwise(spec.shape, have, convention))
    there = Side(convention, {part: spec}, have.options)
    steps = plain.inverted(plain.to_keras(kind, part, there), spec)
    return spec_from(after(Taken(part), steps), there.leaves)


def depthwise(shape: tuple[int, ...], have: Side, convention: str) -> tuple[int, ...]:
    """Return the *shape* of a depthwise kernel, in Keras' order, as *convention* groups it."""
    outputs, times = shape[-2] * shape[-1], have.options.get("multiplier", 1)
    if have.convention == "keras" and times != shape[-1]:
        raise CannotCarryError(f"its multiplier is {shape[-1]}: write multiplier {shape[-1]}")
    if convention != "keras":
        return (*shape[:-2], 1, outputs)
    if outputs % times:
        raise CannotCarryError(f"{outputs} outputs are no multiple of multiplier {times}")
    return (*shape[:-2], outputs // times, times)
