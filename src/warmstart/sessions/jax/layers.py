"""The layers whose kind is known, with Flax's names for their variables.

Modules of NNX say what they are.  In a tree the names of leaves tell, and the rank of a kernel:
what they leave open, a kernel of three axes that no name calls a convolution's, is no layer here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flax import nnx

from ...layer import Classes, Layer, kind_of
from ...names import inside, joined, last, parent, parts
from .module import hanging
from .trees import name_of
from .variables import Variable, Variables

#: Modules -> their kind, and by what attribute they say each option; the first that fits.
KINDS: tuple[Classes, ...] = (
    ((nnx.MultiHeadAttention,), "multi_head_attention", {"heads": "num_heads"}),
    ((nnx.LSTMCell, nnx.OptimizedLSTMCell), "lstm", {}),
    ((nnx.GRUCell,), "gru", {}),
    ((nnx.Linear, nnx.LinearGeneral), "dense", {}),
    ((nnx.Conv,), "conv", {"groups": "feature_group_count"}),
    ((nnx.ConvTranspose,), "conv_transpose", {"transpose_kernel": "transpose_kernel"}),
    ((nnx.Embed,), "embedding", {}),
    ((nnx.BatchNorm,), "batch_norm", {}),
    ((nnx.LayerNorm, nnx.RMSNorm), "layer_norm", {}),
    ((nnx.GroupNorm,), "group_norm", {}),
)

ATTENTION = frozenset(("query", "key", "value", "out"))
LSTM = frozenset(side + gate for side in "ih" for gate in "ifgo")
GRU = frozenset(side + gate for side in "ih" for gate in "rzn")

#: What stands in a scope -> the layer that the scope is.
COMPOSED = ((ATTENTION, "multi_head_attention"), (LSTM, "lstm"), (GRU, "gru"))

Scopes = dict[str, dict[str, Variable]]


def layers_in_module(module: Any, variables: Variables) -> Iterator[Layer]:
    """Yield the layers of *module*, those that are made of others as one."""
    composed: list[str] = []
    for keys, node in sorted(nnx.iter_modules(module), key=lambda pair: len(pair[0])):
        path = name_of(tuple(map(str, keys)))
        kind, options = kind_of(node, KINDS)
        if not kind or any(inside(path, outer) for outer in composed):
            continue
        names = {each.name: joined(path, each.name) for each in hanging(node)}
        own = {leaf: name for leaf, name in names.items() if variables.find(name)}
        if kind in ("multi_head_attention", "lstm", "gru"):
            composed.append(path)
        yield Layer(kind, path, own, options)


def layers_in_tree(variables: Variables, prefix: str) -> Iterator[Layer]:
    """Yield the layers among *variables*, whose parameters stand below *prefix*."""
    scopes, kept = scopes_of(variables, prefix)
    within: set[str] = set()
    for scope in sorted({parent(scope) for scope in scopes}):
        below = {last(inner): inner for inner in scopes if inner and parent(inner) == scope}
        for members, kind in COMPOSED:
            if members <= below.keys():
                yield composed_layer(kind, scope, {m: scopes[below[m]] for m in members})
                within |= {below[member] for member in members}
    for scope, leaves in scopes.items():
        found = None if scope in within else kind_by_leaves(scope, leaves, kept)
        if found is not None:
            every = leaves | (kept.get(scope, {}) if found == "batch_norm" else {})
            yield Layer(found, scope, {leaf: v.name for leaf, v in every.items()})


def scopes_of(variables: Variables, prefix: str) -> tuple[Scopes, Scopes]:
    """Return what stands in each scope: of the parameters, and of other collections."""
    scopes: Scopes = {}
    kept: Scopes = {}
    for name, variable in variables.by_name.items():
        if variable.role not in ("trainable", "model"):
            continue
        own = name if not prefix else inside(name, prefix)
        if own is not None:
            scopes.setdefault(parent(own), {})[last(own)] = variable
        elif len(parts(name)) > 1:
            relative = name_of(parts(name)[1:])
            kept.setdefault(parent(relative), {})[last(relative)] = variable
    return scopes, kept


def composed_layer(kind: str, scope: str, members: Mapping[str, Mapping[str, Variable]]) -> Layer:
    """Return the layer that several scopes in *scope* are together."""
    leaves = {joined(m, leaf): v for m, own in members.items() for leaf, v in own.items()}
    options = {}
    if kind == "multi_head_attention":
        options["heads"] = leaves["query/kernel"].leaf.shape[-2]
    return Layer(kind, scope, {leaf: v.name for leaf, v in leaves.items()}, options)


def kind_by_leaves(scope: str, leaves: Mapping[str, Variable], kept: Scopes) -> str | None:
    """Return the kind of the layer with these *leaves*, None where they do not tell."""
    if leaves.keys() <= {"kernel", "bias"} and "kernel" in leaves:
        return kind_of_kernel(last(scope), len(leaves["kernel"].leaf.shape))
    if leaves.keys() == {"embedding"}:
        return "embedding"
    if "scale" in leaves and leaves.keys() <= {"scale", "bias"}:
        return "batch_norm" if {"mean", "var"} <= kept.get(scope, {}).keys() else "layer_norm"
    return None


def kind_of_kernel(called: str, rank: int) -> str | None:
    """Return the kind of layer with a kernel of *rank* axes, as far as *called* tells.

    >>> kind_of_kernel("Dense_0", 2), kind_of_kernel("attend", 3), kind_of_kernel("Conv_0", 3)
    ('dense', None, 'conv')
    """
    if rank == 2:
        return "dense"
    if rank < 3 or "transpose" in called.lower():
        return "conv_transpose" if rank > 2 else None
    return "conv" if rank > 3 or "conv" in called.lower() else None
