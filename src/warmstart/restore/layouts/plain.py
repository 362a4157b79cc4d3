"""Layers whose leaves correspond one to one: they differ in names and in the order of axes.

    part              torch                  keras                flax
    dense kernel      (out, in)              (in, out)            (in, out)
    conv kernel       (out, in/groups, *k)   (*k, in/groups, out) (*k, in/groups, out)
    depthwise kernel  (in * m, 1, *k)        (*k, in, m)          (*k, 1, in * m)
    transposed conv   (in, out, *k)          (*k, out, in)        (*k, in, out), turned around

Keras' DepthwiseConv keeps output channel c * m + j of input c at [..., c, j], so that its kernel is
a grouped one of another shape.  Flax' ConvTranspose slides the kernel as it stands, which PyTorch
and Keras do with the kernel turned around; with `transpose_kernel=True` it lies as Keras' does.
"""

import math

from ...layer import CONVENTIONS
from ...spec import TensorSpec
from ..recipe import Recipe, Step, Taken, after, made, spec_from
from ..steps import Flip, Reshape, Transpose
from .side import Recipes, Side

KERNEL = {"kernel": ("weight", "kernel", "kernel"), "bias": ("bias", "bias", "bias")}
NORM = {"gamma": ("weight", "gamma", "scale"), "beta": ("bias", "beta", "bias")}

#: kind -> part -> its name in each of CONVENTIONS.
NAMES: dict[str, dict[str, tuple[str, str, str]]] = {
    "dense": KERNEL,
    "conv": KERNEL,
    "depthwise_conv": KERNEL,
    "separable_conv": {
        "depthwise_kernel": ("depthwise.weight", "depthwise_kernel", "depthwise.kernel"),
        "pointwise_kernel": ("pointwise.weight", "pointwise_kernel", "pointwise.kernel"),
        "bias": ("pointwise.bias", "bias", "pointwise.bias"),
    },
    "conv_transpose": KERNEL,
    "embedding": {"embeddings": ("weight", "embeddings", "embedding")},
    "batch_norm": {
        **NORM,
        "moving_mean": ("running_mean", "moving_mean", "mean"),
        "moving_variance": ("running_var", "moving_variance", "var"),
    },
    "layer_norm": NORM,
    "group_norm": NORM,
}

#: Further names of a convolution's kernel: Keras 2's, and one half of a separable one.
KERNELS = ("depthwise_kernel", "pointwise_kernel")
CONVOLUTIONS = ("conv", "depthwise_conv", "separable_conv", "conv_transpose")


def leaves(kind: str, convention: str) -> dict[str, tuple[str, ...]]:
    """Return the parts of *kind*, each with the names it may have, that in *convention* first.

    A name of another convention will do: whoever renames single variables writes the new name.
    """
    own = CONVENTIONS.index(convention)
    further = {"kernel": KERNELS} if kind in CONVOLUTIONS else {}
    return {
        part: tuple(dict.fromkeys((names[own], *names, *further.get(part, ()))))
        for part, names in NAMES[kind].items()
    }


def own_leaves(kind: str, convention: str) -> dict[str, tuple[str, ...]]:
    """Return the parts of *kind*, each with the names that *convention* has for it."""
    further = KERNELS if convention == "keras" and kind in CONVOLUTIONS else ()
    return {
        part: (names[0], *(name for name in further if part == "kernel"))
        for part, names in leaves(kind, convention).items()
    }


def convert(kind: str, have: Side, want: Side) -> Recipes:
    """Return how each leaf of *want* is made of those of *have*, where it has them."""
    return {part: recipe_of(kind, part, have, want) for part in want.leaves if part in have.leaves}


def recipe_of(kind: str, part: str, have: Side, want: Side) -> Recipe:
    """Return how one part is made of the same part in another order of axes."""
    recipe = after(Taken(part), to_keras(kind, part, have))
    shape = spec_from(recipe, have.leaves).shape
    steps = to_keras(kind, part, want)
    wanted = spec_from(after(Taken(part), steps), want.leaves)
    sides = (shape, have), (wanted.shape, want)
    if (
        shape != wanted.shape
        and is_the_same(kind, shape, wanted.shape)
        and (kind == "dense" or agree(*sides))
    ):
        recipe = made(Reshape(wanted.shape), recipe)
    return after(recipe, inverted(steps, want.leaves[part]))


def to_keras(kind: str, part: str, side: Side) -> list[Step]:
    """Return the steps that bring a part into Keras' order of axes."""
    axes = tuple(range(len(side.leaves[part].shape)))
    if "kernel" not in part or len(axes) < 2:
        return []
    if side.convention == "torch" and (kind in CONVOLUTIONS or len(axes) == 2):
        return [Transpose((*axes[2:], 1, 0))]
    as_it_stands = kind == "conv_transpose" and not side.options.get("transpose_kernel")
    if side.convention == "flax" and as_it_stands:
        return [Flip(axes[:-2]), Transpose((*axes[:-2], axes[-1], axes[-2]))]
    return []


def inverted(steps: list[Step], spec: TensorSpec) -> list[Step]:
    """Return the steps that undo *steps*, which begin with a tensor of *spec*."""
    result: list[Step] = []
    for step in steps:
        (back,) = step.inverse([spec])  # type: ignore[misc]  # each of them has one
        result.insert(0, back.step)  # type: ignore[union-attr]
        spec = step.spec([spec])
    return result


def is_the_same(kind: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether values in Keras' order mean the same in both shapes, whatever they are."""
    if math.prod(shape) != math.prod(wanted):
        return False
    if kind == "dense":  # the inputs or the outputs are several axes, as in attention
        return len(shape) != len(wanted)
    alike = shape[:-2] == wanted[:-2] and len(shape) == len(wanted) > 2
    return kind in CONVOLUTIONS[:3] and alike and 1 in (shape[-2], wanted[-2])


def agree(one: tuple[tuple[int, ...], Side], other: tuple[tuple[int, ...], Side]) -> bool:
    """Return whether two kernels, in Keras' order, have as many groups, as far as is known.

    That of a depthwise convolution in Keras says them: its inputs.
    """
    groups = {shape[-2] for shape, _ in (one, other) if len(shape) > 2 and shape[-2] != 1}
    groups |= {side.options["groups"] for _, side in (one, other) if side.options.get("groups")}
    return len(groups) <= 1
