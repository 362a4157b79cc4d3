"""One training step on a pytree, compiled anew when what is frozen changes.

    leaves of the tree and of the optimizer's state, a batch, a key
      -> those leaves that move, the losses, the gradients that are watched, the next key

What is frozen is no output, so that the very arrays stay; it has no gradient, and what the
optimizer makes of it and of its slots is thrown away.  Rows that are held are put back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...names import parent, parts
from ..processing import Processor, processed
from .arrays import is_array, is_number
from .gradients import JaxOps, Watcher, check_trained, show
from .losses import in_inference, loss_and_rest, refuse_arrays
from .parts import starts, subtree, trained_tree
from .tree_freezing import held_by
from .tree_session import TreeSession
from .trees import BoxCell, ListCell, Path, Tree
from .variables import Variable, refuse_empty

Values = dict[int, Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands in the list of the tree's leaves and then of the state's."""

    tree: Any  # the structure of the tree
    state: Any  # that of the optimizer's state, None where it is in the tree
    n_tree: int  # leaves of the tree
    fixed: tuple[Any, ...]  # leaves that are no variables, None elsewhere
    names: Mapping[int, str]
    roles: Mapping[int, str]
    trained: tuple[int, ...]  # parameters that can be trained, in the order optax sees them
    of_state: tuple[int, ...]  # the optimizer's state, likewise
    counter: int | None  # the step that a TrainState counts


class TreeStep:
    """The step of one session."""

    def __init__(
        self,
        session: TreeSession,
        transformation: optax.GradientTransformation,
        loss: Callable[..., Any],
        processors: Sequence[Processor],
    ) -> None:
        self._session = session
        session.stepped = True
        self._tx = optax.with_extra_args_support(transformation)
        self._loss = loss
        self._processors = processors
        self._for: tuple[Any, ...] = ()  # what the compiled function is for
        self._run: Any = None
        self._watchers: list[Watcher] = []

    def take(self, batch: Any, key: Any) -> tuple[Mapping[str, Any], Any]:
        """Take one step on *batch*; return the losses and the next key."""
        lists = leaf_lists(self._session)
        if not self._is_current(lists):
            self._make_ready(lists)
        values = {i: v for i, v in enumerate(joined_lists(lists)) if i in self._layout.names}
        moved, losses, watched, key = self._run(values, batch, key)
        show(self._watchers, watched)
        for index, value in moved.items():
            put(lists, index, value)
        return losses, key

    def _is_current(self, lists: Sequence[list[Any]]) -> bool:
        return len(self._for) == len(self._key(lists)) and all(
            a is b for a, b in zip(self._for, self._key(lists), strict=True)
        )

    def _key(self, lists: Sequence[list[Any]]) -> tuple[Any, ...]:
        return (*lists, *self._session.freezings)

    def _make_ready(self, lists: Sequence[list[Any]]) -> None:
        """Look through the session and make the function that is compiled."""
        layout = layout_of(self._session)
        held = held_by(self._session.freezings)
        names = [layout.names[i] for i in layout.trained if layout.names[i] not in held.whole]
        check_trained(names, self._processors)
        self._layout, self._held = layout, held
        self._for = self._key(lists)
        self._run = jax.jit(self._traced)

    def _traced(self, values: Values, batch: Any, key: Any) -> Any:
        layout = self._layout
        leaves = [values.get(i, fixed) for i, fixed in enumerate(layout.fixed)]
        following, own = (None, None) if key is None else tuple(jax.random.split(key))
        free = [i for i in layout.trained if layout.names[i] not in self._held.whole]

        def losses_of(some: Sequence[Any]) -> Any:
            changed = dict(zip(free, some, strict=True))
            return self._losses([changed.get(i, v) for i, v in enumerate(leaves)], batch, own)

        (loss, (kept, metrics)), found = jax.value_and_grad(losses_of, has_aux=True)(
            [leaves[i] for i in free]
        )
        ops = JaxOps({layout.names[i]: leaves[i] for i in layout.trained})
        gradients = self._processed(dict(zip(free, found, strict=True)), ops)
        moved = kept | self._updated(leaves, gradients, loss)
        if layout.counter is not None:
            moved[layout.counter] = leaves[layout.counter] + 1
        self._watchers = ops.watchers
        return moved, {"loss": loss, **metrics}, ops.watched_gradients, following

    def _losses(self, leaves: Sequence[Any], batch: Any, key: Any) -> Any:
        """Return the loss, and the collections that it changed with the other metrics."""
        layout = self._layout
        tree = jax.tree_util.tree_unflatten(layout.tree, leaves[: layout.n_tree])
        arguments = (tree, batch) if key is None else (tree, batch, key)
        with in_inference(self._still_layers()):
            loss, rest = loss_and_rest(self._loss(*arguments))
        kept, metrics = collections_in(rest, layout)
        refuse_arrays(metrics)
        still = self._held
        moved = {
            i: put_back(new, leaves[i], still.indices(layout.names[i]))
            for i, new in kept.items()
            if layout.names[i] not in still.whole
        }
        return loss, (moved, metrics)

    def _processed(self, gradients: Values, ops: JaxOps) -> Values:
        """Return the gradients that the optimizer is to see: none where there is to be none."""
        names = self._layout.names
        by_name = {
            names[i]: without_rows(gradient, self._held.indices(names[i]))
            for i, gradient in gradients.items()
        }
        seen = processed(self._processors, by_name, ops)
        return {i: seen[names[i]] for i in gradients if seen[names[i]] is not None}

    def _updated(self, leaves: Sequence[Any], gradients: Values, loss: Any) -> Values:
        """Return the parameters with a gradient, and the optimizer's state, after its update."""
        layout = self._layout
        tree = jax.tree_util.tree_unflatten(layout.tree, leaves[: layout.n_tree])
        params = trained_tree(tree, self._session.parts)
        structure = jax.tree.structure(params)
        every = [gradients.get(i, jnp.zeros_like(leaves[i])) for i in layout.trained]
        state = state_in(tree, leaves, layout, self._session)
        updates, state = self._tx.update(
            jax.tree.unflatten(structure, every), state, params, value=loss
        )
        new = jax.tree.leaves(optax.apply_updates(params, updates))
        changed = dict(zip(layout.trained, new, strict=True)) | dict(
            zip(layout.of_state, jax.tree.leaves(state), strict=True)
        )
        return self._without_held(leaves, changed, {layout.names[i] for i in gradients})

    def _without_held(
        self, leaves: Sequence[Any], changed: Values, with_gradient: set[str]
    ) -> Values:
        """Return those of *changed* that may move: variables *with_gradient* and their slots."""
        names, roles, moved = self._layout.names, self._layout.roles, {}
        shapes = {names[i]: jnp.shape(leaves[i]) for i in self._layout.trained}
        for i, new in changed.items():
            owner = parent(names[i]) if roles[i] == "slot" else names[i]
            if roles[i] == "run":
                moved[i] = new
            elif owner in with_gradient:
                like = shapes[owner] == jnp.shape(new)
                moved[i] = put_back(new, leaves[i], self._held.indices(owner) if like else ())
        return moved

    def _still_layers(self) -> frozenset[Path]:
        """Return the scopes of the layers whose statistics are held."""
        whole, layout = self._held.whole, self._layout
        models = (layout.names[i] for i, role in layout.roles.items() if role == "model")
        return frozenset(tuple(parts(name)[1:-1]) for name in models if name in whole)


def leaf_lists(session: TreeSession) -> list[list[Any]]:
    """Return the lists that the tree's leaves and the optimizer's state are kept in."""
    tree, state = session.taken_apart
    return [tree.kept, *([state.kept] if state is not None else [])]


def joined_lists(lists: Iterable[list[Any]]) -> list[Any]:
    """Return several lists as one."""
    return [leaf for each in lists for leaf in each]


def put(lists: Sequence[list[Any]], index: int, value: Any) -> None:
    """Put *value* at *index* of the joined *lists*."""
    for each in lists:
        if index < len(each):
            each[index] = value
            return
        index -= len(each)


def layout_of(session: TreeSession) -> Layout:
    """Return where everything stands; raise for what cannot be trained."""
    tree, state = session.taken_apart
    variables = session.look().by_name.values()
    refuse_empty(variables)
    refuse_boxes(variables)
    index = {(id(tree.kept), i): i for i in range(len(tree.kept))}
    if state is not None:
        index |= {(id(state.kept), i): len(tree.kept) + i for i in range(len(state.kept))}
    at = {index[place_of(v)]: v for v in variables}
    state_paths = session.parts.opt_state
    inside = [] if state_paths is None else [i for i, leaf in enumerate(tree.leaves)
                                             if starts(leaf.path, state_paths)]  # fmt: skip
    outside = range(len(tree.kept), len(index))
    leaves = joined_lists(leaf_lists(session))
    steps = [i for i, v in at.items() if state_paths and v.name == "step"]
    return Layout(
        tree=tree.structure,
        state=None if state is None else state.structure,
        n_tree=len(tree.kept),
        fixed=tuple(None if i in at else leaf for i, leaf in enumerate(leaves)),
        names={i: v.name for i, v in at.items()},
        roles={i: v.role for i, v in at.items()},
        trained=tuple(sorted(i for i, v in at.items() if v.role == "trainable")),
        of_state=tuple(inside or outside),
        counter=steps[0] if steps else None,
    )


def refuse_boxes(variables: Iterable[Variable]) -> None:
    """Raise for *variables* that are kept where a step cannot put a value."""
    if any(isinstance(v.cell, BoxCell) for v in variables):
        raise TypeError("the tree holds variables of NNX: give JaxModel the module itself")


def place_of(variable: Variable) -> tuple[int, int]:
    """Return in which list, by its id, and where in it *variable* is kept."""
    cell = variable.cell
    assert isinstance(cell, ListCell)
    return id(cell.leaves), cell.index


def state_in(tree: Any, leaves: Sequence[Any], layout: Layout, session: TreeSession) -> Any:
    """Return the optimizer's state, from the *tree* or from the *leaves* behind it."""
    if session.parts.opt_state is not None:
        return subtree(tree, session.parts.opt_state)
    return jax.tree_util.tree_unflatten(layout.state, leaves[layout.n_tree :])


def collections_in(rest: Mapping[str, Any], layout: Layout) -> tuple[Values, dict[str, Any]]:
    """Return the new values of kept variables in what a loss returned, and the metrics."""
    by_name = {layout.names[i]: i for i, role in layout.roles.items() if role != "slot"}
    kept: Values = {}
    metrics: dict[str, Any] = {}
    for key, value in rest.items():
        ours = {name: i for name, i in by_name.items() if parts(name)[0] == key}
        if not ours:
            metrics[key] = value
            continue
        new = {leaf.name: leaf.cell.get() for leaf in Tree({key: value}).leaves}
        new = {name: v for name, v in new.items() if is_array(v) or is_number(v)}
        if new.keys() != ours.keys() or any(layout.roles[i] == "trainable" for i in ours.values()):
            raise ValueError(
                f"loss= returned {key!r} with {', '.join(sorted(new)) or 'nothing'}; expected the "
                f"kept variables {', '.join(sorted(ours))}"
            )
        kept |= {ours[name]: v for name, v in new.items()}
    return kept, metrics


def without_rows(gradient: Any, indices: Iterable[Any]) -> Any:
    """Return *gradient* with zeros where a variable is held."""
    for index in indices:
        gradient = gradient.at[index].set(0)
    return gradient


def put_back(new: Any, old: Any, indices: Iterable[Any]) -> Any:
    """Return *new* with the values of *old* where a variable is held."""
    for index in indices:
        new = new.at[index].set(old[index])
    return new
