"""LSTM and GRU: gates in another order, packed or apart, and one bias or two.

A layer has cells, named as PyTorch ends its names: "l0", "l0_reverse", "l1".  The parts of a cell:

    kernel (in, n * h)   recurrent_kernel (h, n * h)   bias (n * h)   recurrent_bias (n * h)

    LSTM   gates i f g o in all three; the two biases are only ever added, so there is one part
    GRU    gates r z n in PyTorch and Flax, z r n in Keras, and the parts are as PyTorch's; the
           recurrent bias of n is multiplied by r, so that it cannot be added to the other

Keras' GRU with `reset_after=False` multiplies by r before the matrix: another function, which the
others do not have.  `nnx.GRUCell` has no recurrent bias at all.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ...spec import TensorSpec
from ..recipe import Recipe, Taken, made
from ..steps import Add, Concatenate, Fill, Reshape, Slice, Transpose
from .piece import Piece
from .side import CannotCarryError, Recipes, Side

GATES = {"lstm": "ifgo", "gru": "rzn"}
TURN = Transpose((1, 0))

#: Scopes that a cell of its own stands in, below its layer.
SCOPES = ("", "cell.", "lstm_cell.", "gru_cell.")
DIRECTIONS = {
    "l0": ("forward_layer.", "forward_rnn."),
    "l0_reverse": ("backward_layer.", "backward_rnn."),
}


def cells(options: Mapping[str, Any]) -> list[str]:
    """Return the cells of a layer.

    >>> cells({"layers": 2, "bidirectional": True})
    ['l0', 'l0_reverse', 'l1', 'l1_reverse']
    """
    ends = ("", "_reverse") if options.get("bidirectional") else ("",)
    return [f"l{layer}{end}" for layer in range(options.get("layers") or 1) for end in ends]


def leaves(kind: str, convention: str, options: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the leaves of all cells, "cell.leaf" each, with the names each may have."""
    every = cells(options)
    return {
        f"{cell}.{leaf}": names_of(cell, leaf, convention, alone=len(every) == 1)
        for cell in every
        for leaf in cell_leaves(kind, convention)
    }


def cell_leaves(kind: str, convention: str) -> list[str]:
    """Return the leaves that a cell may have, of all variants there are."""
    if convention == "torch":
        return ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"]
    if convention == "keras":
        return ["kernel", "recurrent_kernel", "bias"]
    denses = [side + gate for side in "ih" for gate in GATES[kind]] + ["dense_i", "dense_h"]
    return [f"{dense}.{leaf}" for dense in denses for leaf in ("kernel", "bias")]


def names_of(cell: str, leaf: str, convention: str, *, alone: bool) -> tuple[str, ...]:
    """Return the names that *leaf* of *cell* may have inside its layer, dots between scopes."""
    ways = [f"{way}{scope}" for way in DIRECTIONS.get(cell, ()) for scope in SCOPES]
    if convention == "torch":
        own = (f"{leaf}_{cell}", leaf) if alone else (f"{leaf}_{cell}",)
        return (*own, *(f"{way}{leaf}{end}" for way in ways for end in ("_l0", "")))
    scopes = (*(SCOPES if alone else ()), f"{cell}.")
    spellings = (leaf, leaf.replace("if.", "if_."), leaf.replace("in.", "in_."))  # no keywords
    return tuple(
        dict.fromkeys(scope + spelled for scope in (*scopes, *ways) for spelled in spellings)
    )


def convert(kind: str, have: Side, want: Side) -> Recipes:
    """Return how each leaf of *want* is made of those of *have*, where it has them."""
    result: Recipes = {}
    for cell in dict.fromkeys(key.partition(".")[0] for key in want.leaves):
        given = below(cell, have)
        if given.leaves:
            made_of = packed(kind, unpacked(kind, given), below(cell, want))
            result |= {f"{cell}.{leaf}": within(recipe, cell) for leaf, recipe in made_of.items()}
    return result


def below(cell: str, side: Side) -> Side:
    """Return what *side* has of one cell."""
    found = {
        leaf: spec
        for key, spec in side.leaves.items()
        for owner, _, leaf in [key.partition(".")]
        if owner == cell
    }
    return Side(side.convention, found, side.options)


def within(recipe: Recipe, cell: str) -> Recipe:
    """Return *recipe* with each leaf under its cell."""
    if isinstance(recipe, Taken):
        return Taken(f"{cell}.{recipe.name}")
    return made(recipe.step, *(within(part, cell) for part in recipe.inputs))


def unpacked(kind: str, have: Side) -> Recipes:
    """Return how the parts of a cell are made of its leaves."""
    if have.convention == "torch":
        return from_torch(kind, have.leaves)
    if have.convention == "keras":
        return from_keras(kind, have.leaves)
    return from_flax(kind, have.leaves)


def packed(kind: str, parts: Recipes, want: Side) -> Recipes:
    """Return how the leaves that *want* has are made, of those parts that there are."""
    if want.convention == "torch":
        found = to_torch(kind, parts)
    elif want.convention == "keras":
        found = to_keras(kind, parts, want)
    else:
        found = to_flax(kind, parts, want.leaves)
    return {leaf: recipe for leaf, recipe in found.items() if leaf in want.leaves}


def from_torch(kind: str, leaves: Mapping[str, TensorSpec]) -> Recipes:
    """Return the parts of PyTorch's leaves."""
    if "weight_hr" in leaves:
        raise CannotCarryError("it projects its output (proj_size), which the others cannot")
    found = {
        "kernel": made(TURN, "weight_ih") if "weight_ih" in leaves else None,
        "recurrent_kernel": made(TURN, "weight_hh") if "weight_hh" in leaves else None,
    }
    biases = [Taken(leaf) for leaf in ("bias_ih", "bias_hh") if leaf in leaves]
    if kind == "lstm" and biases:
        found["bias"] = made(Add(), *biases) if len(biases) == 2 else biases[0]
    if kind == "gru" and biases:
        first, second = biases[0], biases[-1]
        found["bias"] = first if "bias_ih" in leaves else made(Fill(0), second)
        found["recurrent_bias"] = second if "bias_hh" in leaves else made(Fill(0), first)
    return {part: recipe for part, recipe in found.items() if recipe is not None}


def to_torch(kind: str, parts: Recipes) -> Recipes:
    """Return PyTorch's leaves of the parts."""
    found: Recipes = {}
    if "kernel" in parts:
        found["weight_ih"] = made(TURN, parts["kernel"])
    if "recurrent_kernel" in parts:
        found["weight_hh"] = made(TURN, parts["recurrent_kernel"])
    if "bias" in parts:
        found["bias_ih"] = parts["bias"]
        found["bias_hh"] = parts.get("recurrent_bias", made(Fill(0), parts["bias"]))
    return found


def from_keras(kind: str, leaves: Mapping[str, TensorSpec]) -> Recipes:
    """Return the parts of Keras' leaves."""
    found: Recipes = {leaf: Taken(leaf) for leaf in leaves}
    if kind == "lstm":
        return found
    found = {leaf: rearranged(recipe, 1) for leaf, recipe in found.items() if leaf != "bias"}
    if "bias" in leaves:
        refuse_reset_before(len(leaves["bias"].shape) == 1)
        for row, part in enumerate(("bias", "recurrent_bias")):
            one = made(Reshape((-1,)), made(Slice(0, row, row + 1), "bias"))
            found[part] = rearranged(one, 0)
    return found


def to_keras(kind: str, parts: Recipes, want: Side) -> Recipes:
    """Return Keras' leaves of the parts."""
    if kind == "lstm":
        return parts
    biased = "bias" in want.leaves
    flat = biased and len(want.leaves["bias"].shape) == 1
    refuse_reset_before(flat or want.options.get("reset_after") is False)
    kernels = [part for part in parts if "kernel" in part]
    found: Recipes = {part: rearranged(parts[part], 1) for part in kernels}
    if "bias" in parts:
        rows = (parts["bias"], parts["recurrent_bias"])
        both = (made(Reshape((1, -1)), rearranged(row, 0)) for row in rows)
        found["bias"] = made(Concatenate(0), *both)
    return found


def refuse_reset_before(found: bool) -> None:
    """Raise if a GRU of Keras was *found* to have `reset_after=False`."""
    if found:
        raise CannotCarryError(
            "Keras' GRU with reset_after=False resets before the matrix product, the others after "
            "it: no values make them equal. Build it with reset_after=True"
        )


def rearranged(recipe: Recipe, axis: int) -> Recipe:
    """Return the gates z r n as r z n, or back."""
    return made(Concatenate(axis), *(made(Piece(axis, gate, 3), recipe) for gate in (1, 0, 2)))


def from_flax(kind: str, leaves: Mapping[str, TensorSpec]) -> Recipes:
    """Return the parts of Flax' leaves: `dense_i` holds all gates, or each has its own."""
    gates = GATES[kind]
    found = {
        "kernel": together(leaves, "dense_i.kernel", [f"i{gate}.kernel" for gate in gates], 1),
        "recurrent_kernel": together(
            leaves, "dense_h.kernel", [f"h{gate}.kernel" for gate in gates], 1
        ),
    }
    side = "h" if kind == "lstm" else "i"
    apart = [f"{side}{gate}.bias" for gate in gates]
    found["bias"] = together(leaves, f"dense_{side}.bias", apart, 0)
    if kind == "gru" and "dense_i.bias" in leaves:
        found["recurrent_bias"] = made(Fill(0), "dense_i.bias")
    if kind == "gru" and "hn.bias" in leaves:
        nothing = made(Fill(0), "hn.bias")
        found["recurrent_bias"] = made(Concatenate(0), nothing, nothing, "hn.bias")
    return {part: recipe for part, recipe in found.items() if recipe is not None}


def together(
    leaves: Mapping[str, TensorSpec], whole: str, apart: Iterable[str], axis: int
) -> Recipe | None:
    """Return *whole* if there is such a leaf, else what *apart* are one behind the other."""
    if whole in leaves:
        return Taken(whole)
    pieces = list(apart)
    return made(Concatenate(axis), *pieces) if all(piece in leaves for piece in pieces) else None


def to_flax(kind: str, parts: Recipes, wanted: Mapping[str, TensorSpec]) -> Recipes:
    """Return Flax' leaves of the parts, packed and apart: a cell has the ones or the others."""
    if kind == "gru" and "dense_i.kernel" in wanted and "recurrent_bias" in parts:
        raise CannotCarryError(
            "nnx.GRUCell has no recurrent bias. Carry it into flax.linen.GRUCell, or drop the "
            "checkpoint's recurrent bias by a rule"
        )
    gates = GATES[kind]
    found: Recipes = {}
    for side, part in (("i", "kernel"), ("h", "recurrent_kernel")):
        if part in parts:
            found[f"dense_{side}.kernel"] = parts[part]
            found |= apart(parts[part], 1, [f"{side}{gate}.kernel" for gate in gates])
    if "bias" in parts:
        found |= lstm_biases(parts) if kind == "lstm" else gru_biases(parts)
    return found


def apart(whole: Recipe, axis: int, leaves: list[str]) -> Recipes:
    """Return each of *leaves* as its piece of *whole*."""
    return {leaf: made(Piece(axis, index, len(leaves)), whole) for index, leaf in enumerate(leaves)}


def lstm_biases(parts: Recipes) -> Recipes:
    """Return the biases of Flax' LSTM cells, which stand on the recurrent side."""
    return {
        "dense_h.bias": parts["bias"],
        **apart(parts["bias"], 0, [f"h{gate}.bias" for gate in GATES["lstm"]]),
    }


def gru_biases(parts: Recipes) -> Recipes:
    """Return the biases of Flax' GRU cells: those of r and z are added up, n keeps two."""
    of_input = apart(parts["bias"], 0, ["ir.bias", "iz.bias", "in.bias"])
    recurrent = apart(parts["recurrent_bias"], 0, ["ir.bias", "iz.bias", "hn.bias"])
    summed = {leaf: made(Add(), of_input[leaf], recurrent[leaf]) for leaf in ("ir.bias", "iz.bias")}
    return {**of_input, **recurrent, **summed}
