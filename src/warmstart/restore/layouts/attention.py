"""Multi-head attention: packed or apart, with the heads as an axis or without.

    part                   torch                           keras, flax
    query, key, value      in_proj_weight (3 * e, e), or   query.kernel (e, heads, e / heads)
                           q_proj_weight (e, e) ...
    their biases           in_proj_bias (3 * e)            query.bias (heads, e / heads)
    output                 out_proj.weight (e, h)          out.kernel (heads, e / heads, e);
                                                           Keras calls it attention_output

The parts are kernels (in, out) and flat biases.  PyTorch's file does not tell the heads: the model
that is filled does.
"""

import math
from collections.abc import Mapping

from ...spec import TensorSpec
from ..recipe import Recipe, Taken, made, spec_from
from ..steps import Concatenate, Reshape, Transpose
from .piece import Piece
from .side import CannotCarryError, Recipes, Side

INPUTS = ("query", "key", "value")

#: Leaves of PyTorch that hold all of INPUTS.
TORCH_PACKED = ("in_proj_weight", "in_proj_bias")
TURN = Transpose((1, 0))

#: Leaf of PyTorch -> names it may have, dots between scopes; those apart are of modules by hand.
TORCH: dict[str, tuple[str, ...]] = {
    "in_proj_weight": ("in_proj_weight", "in_proj.weight"),
    "in_proj_bias": ("in_proj_bias", "in_proj.bias"),
    **{
        f"{part}.{leaf}": (f"{part[0]}_proj_{leaf}", f"{part[0]}_proj.{leaf}", f"{part}.{leaf}")
        for part in INPUTS
        for leaf in ("weight", "bias")
    },
    "output.weight": ("out_proj.weight", "out.weight"),
    "output.bias": ("out_proj.bias", "out.bias"),
    "bias_k": ("bias_k",),
    "bias_v": ("bias_v",),
}

#: Part -> what Keras and Flax call it; `*_dense` are the attributes of Keras' layer.
SCOPES = {
    **{part: (part, f"{part}_dense") for part in INPUTS},
    "output": ("attention_output", "out", "output_dense", "output"),
}

#: Leaf of Keras and Flax -> names it may have.
HEADED: dict[str, tuple[str, ...]] = {
    f"{part}.{leaf}": tuple(f"{scope}.{leaf}" for scope in scopes)
    for part, scopes in SCOPES.items()
    for leaf in ("kernel", "bias")
}


def leaves(convention: str) -> dict[str, tuple[str, ...]]:
    """Return the leaves of *convention*, each with the names it may have, its own first."""
    if convention != "flax":
        return TORCH if convention == "torch" else HEADED
    return {leaf: tuple(sorted(names, key=is_not_out)) for leaf, names in HEADED.items()}


def is_not_out(name: str) -> bool:
    """Return whether *name* is other than what Flax calls the output."""
    return not name.startswith("out.")


def convert(have: Side, want: Side) -> Recipes:
    """Return how each leaf of *want* is made of those of *have*, where it has them."""
    if {"bias_k", "bias_v"} & {*have.leaves, *want.leaves}:
        raise CannotCarryError("it learns a further key and value (add_bias_kv), the others do not")
    parts = parts_of(have)
    found = to_torch(parts) if want.convention == "torch" else to_heads(parts, have, want)
    return {leaf: recipe for leaf, recipe in found.items() if leaf in want.leaves}


def parts_of(have: Side) -> Recipes:
    """Return how the parts are made of the leaves of *have*."""
    return from_torch(have.leaves) if have.convention == "torch" else from_heads(have.leaves)


def from_torch(leaves: Mapping[str, TensorSpec]) -> Recipes:
    """Return the parts of PyTorch's leaves."""
    found: Recipes = {}
    for index, part in enumerate(INPUTS):
        if "in_proj_weight" in leaves:
            found[f"{part}.kernel"] = made(TURN, made(Piece(0, index, 3), "in_proj_weight"))
        if "in_proj_bias" in leaves:
            found[f"{part}.bias"] = made(Piece(0, index, 3), "in_proj_bias")
    for part in (*INPUTS, "output"):
        if f"{part}.weight" in leaves:
            found[f"{part}.kernel"] = made(TURN, f"{part}.weight")
        if f"{part}.bias" in leaves:
            found[f"{part}.bias"] = Taken(f"{part}.bias")
    return found


def to_torch(parts: Recipes) -> Recipes:
    """Return PyTorch's leaves of the parts, both packed and apart: a module has either."""
    found = {
        leaf.replace("kernel", "weight"): made(TURN, recipe) if "kernel" in leaf else recipe
        for leaf, recipe in parts.items()
    }
    for leaf in ("weight", "bias"):
        apart = [found.get(f"{part}.{leaf}") for part in INPUTS]
        if all(recipe is not None for recipe in apart):
            found[f"in_proj_{leaf}"] = made(Concatenate(0), *apart)
    return found


def from_heads(leaves: Mapping[str, TensorSpec]) -> Recipes:
    """Return the parts of leaves that have the heads as an axis."""
    return {leaf: flat(leaf, spec) for leaf, spec in leaves.items()}


def flat(leaf: str, spec: TensorSpec) -> Recipe:
    """Return *leaf* with its heads in one axis with what belongs to them."""
    shape = spec.shape
    if leaf == "output.kernel" and len(shape) == 3:
        return made(Reshape((shape[0] * shape[1], shape[2])), leaf)
    if leaf.endswith("kernel") and len(shape) == 3:
        return made(Reshape((shape[0], shape[1] * shape[2])), leaf)
    return made(Reshape((spec.size,)), leaf) if len(shape) == 2 and "bias" in leaf else Taken(leaf)


def to_heads(parts: Recipes, have: Side, want: Side) -> Recipes:
    """Return the leaves of *want*, whose shapes say the heads."""
    found: Recipes = {}
    for leaf, recipe in parts.items():
        shape = want.leaves[leaf].shape if leaf in want.leaves else ()
        size = spec_from(recipe, have.leaves).size
        fits = leaf in want.leaves and math.prod(shape) == size
        found[leaf] = made(Reshape(shape), recipe) if fits else recipe
    return found
