"""The variables of a Flax NNX module, found anew at each look.

    model.layers[0].kernel          layers/0/kernel         as in `nnx.state`
    orbax of nnx.state(model)       layers/0/kernel/value   a synonym

A variable that is reached by several ways is one: the first name is its own, the others are
aliases.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from flax.nnx import graph

from ...names import joined
from .arrays import is_array
from .optimizer import OPT_STATE, Owners, state_variables
from .trees import BoxCell, Path, Tree, is_variable, name_of
from .variables import Variable, Variables, gathered

#: A test of a variable at its path: whether an optimizer trains it.
Trained = Callable[[tuple[Any, ...], Any], bool]


@dataclass(frozen=True, slots=True)
class Hanging:
    """A variable, or a bare array, where it hangs in a module."""

    keys: tuple[Any, ...]
    value: Any

    @property
    def name(self) -> str:
        """The keys as a name."""
        return name_of(tuple(map(str, self.keys)))


@dataclass(frozen=True, slots=True)
class VariableCell(BoxCell):
    """An `nnx.Variable` that hangs in a module, by the class that it had when looked at."""

    root: Any
    keys: tuple[Any, ...]
    kind: type

    def still(self) -> bool:
        return at(self.root, self.keys) is self.variable and type(self.variable) is self.kind


@dataclass(frozen=True, slots=True)
class ArrayCell:
    """An array that hangs in a module without a variable around it."""

    root: Any
    keys: tuple[Any, ...]

    def get(self) -> Any:
        return at(self.root, self.keys)

    def put(self, leaf: Any) -> None:
        *above, last = self.keys
        owner = at(self.root, tuple(above))
        if isinstance(owner, dict | list):
            owner[last] = leaf
        else:
            setattr(owner, last, leaf)

    def still(self) -> bool:
        return is_array(at(self.root, self.keys))


def at(node: Any, keys: tuple[Any, ...]) -> Any:
    """Return what hangs in *node* where *keys* lead, None where they lead nowhere."""
    for key in keys:
        if isinstance(node, dict | list | tuple):
            try:
                node = node[key]
            except LookupError:
                return None
        else:
            node = below(node).get(key) if is_node(node) else None
    return node


def below(node: Any) -> Mapping[Any, Any]:
    """Return what hangs in *node*, one level deep."""
    kind = graph.get_node_impl(node)
    assert kind is not None
    return kind.node_dict(node)


def is_node(node: Any) -> bool:
    """Return whether variables may hang below *node*."""
    return node is not None and graph.is_node(node) and not is_variable(node)


def hanging(
    node: Any, keys: tuple[Any, ...] = (), above: frozenset[int] = frozenset()
) -> Iterator[Hanging]:
    """Yield all that hangs at and below *node*, a shared one at each of its places."""
    inside = above | {id(node)}
    for key, value in below(node).items():
        if is_variable(value) or isinstance(value, jax.Array | jax.ShapeDtypeStruct | np.ndarray):
            yield Hanging((*keys, key), value)
        elif is_node(value) and id(value) not in inside:
            yield from hanging(value, (*keys, key), inside)


def role_of(variable: nnx.Variable[Any]) -> str:
    """Return what a *variable* is for, by its type."""
    if isinstance(variable, nnx.RngState):
        return "run"
    return "trainable" if isinstance(variable, nnx.Param) else "model"


def variables_of(
    module: Any, optimizer: Any = None, *, held: Callable[[Any], bool] = lambda variable: False
) -> Variables:
    """Look at *module* and its *optimizer*, an `nnx.Optimizer` or an optax state.

    What *held* says is still whole is not trained.
    """
    trained = trained_by(optimizer)
    first: dict[int, str] = {}
    found: list[Variable] = []
    aliases: dict[str, str] = {}
    unheld: dict[str, str] = {}
    everything = list(hanging(module))
    for each in everything:
        if id(each.value) in first:
            aliases[each.name] = first[id(each.value)]
            continue
        first[id(each.value)] = each.name
        cell = cell_of(module, each)
        if not is_array(cell.get()):
            if cell.get() is not None:
                kind = type(cell.get()).__qualname__
                unheld[each.name] = f"its value is a {kind}; only arrays are read"
            continue
        role = "model"
        if is_variable(each.value) and not held(each.value):
            role = role_of(each.value)
            role = "model" if role == "trainable" and not trained(each.keys, each.value) else role
        found.append(Variable(each.name, role, cell, (joined(each.name, "value"),)))
    of_state = optimizer_variables(optimizer, paths_of(everything))
    return gathered([*found, *of_state], aliases, unheld)


def paths_of(hangings: Iterable[Hanging]) -> frozenset[Path]:
    """Return the paths of all that hangs in a module."""
    return frozenset(tuple(map(str, each.keys)) for each in hangings)


def cell_of(module: Any, each: Hanging) -> VariableCell | ArrayCell:
    """Return the cell of what hangs in *module*."""
    if is_variable(each.value):
        return VariableCell(each.value, module, each.keys, type(each.value))
    return ArrayCell(module, each.keys)


def trained_by(optimizer: Any) -> Trained:
    """Return the test of what *optimizer* trains: every Param, where it does not say."""
    if isinstance(optimizer, nnx.Optimizer):
        test: Trained = nnx.filterlib.to_predicate(optimizer.wrt)
        return test
    return lambda keys, variable: isinstance(variable, nnx.Param)


def optimizer_variables(optimizer: Any, paths: frozenset[Path]) -> Iterator[Variable]:
    """Yield the state that *optimizer* has for the variables at *paths*; nothing for None."""
    if optimizer is None:
        return
    state = optimizer.opt_state if isinstance(optimizer, nnx.Optimizer) else optimizer
    tree = state if isinstance(state, Tree) else Tree(state)
    cells = {leaf.path: leaf.cell for leaf in tree.leaves}
    yield from state_variables(tree.whole(), cells, Owners(paths, (nnx.State, dict)))
    if isinstance(optimizer, nnx.Optimizer):
        step = joined(OPT_STATE, "step")
        yield Variable(step, "run", BoxCell(optimizer.step), ("step", "step/value"))
