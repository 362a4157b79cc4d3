"""The variables of an object and its optimizer, by name, found anew at each look.

encoder/layers/0/w                                the name: the shortest way of attributes
tied, encoder/w, dense/kernel                     aliases: other ways, `variable.name`
encoder/w/momentum                                a slot, after its variable
optimizer/_iterations                             what else the optimizer has

model/encoder/w                                   also found, and not listed: what a
encoder/w/.ATTRIBUTES/VARIABLE_VALUE              tf.train.Checkpoint(model=, optimizer=) of
encoder/w/.OPTIMIZER_SLOT/optimizer/m/.ATTRI...   the same objects calls it
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from ...errors import NameConflict
from ...names import joined, last, without_output
from ...spec import TensorSpec
from ..tf_graph.roles import POWERS
from .guard import was_trained
from .objects import (
    UNSAVED,
    Edge,
    Found,
    Objects,
    has_other_state,
    inner_of,
    is_keras_optimizer,
    is_optimizer,
    variable_in,
)
from .optimizers import TRAINED, Slot, coming, is_built, slots_of, variable_path

KEY = "/.ATTRIBUTES/VARIABLE_VALUE"

#: Whose variables are random states: TensorFlow's generators, and those of layers of Keras.
GENERATORS = ("Generator", "SeedGenerator")

#: What TensorFlow calls variables that nobody named.
UNNAMED = "Variable"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable."""

    name: str
    value: Any  # a tf.Variable, or one of Keras; None of a slot that is not there yet
    role: str
    edges: tuple[Edge, ...]  # the last steps to it; a slot has none
    paths: tuple[str, ...]  # what the edges, or those of a slot's variable, call it
    keys: tuple[str, ...] = ()  # how TensorFlow's checkpoints call it beside that
    owner: str = ""  # of a slot, the name of its variable
    key: str = ""  # and what it is called there
    to_come: TensorSpec | None = None  # of a slot that is not there yet

    @property
    def inner(self) -> Any:
        """The tf.Variable."""
        return inner_of(self.value)

    @property
    def spec(self) -> TensorSpec:
        """Its spec."""
        if self.to_come is not None:
            return self.to_come
        inner = self.inner
        return TensorSpec(self.name, inner.dtype.name, tuple(inner.shape.as_list()), self.role)

    @property
    def still(self) -> bool:
        """Whether it hangs where it was found."""
        return not self.edges or self.edges[0].leads_to(self.value)


@dataclass(frozen=True, slots=True)
class Variables:
    """All variables of a model as they were when looked at."""

    by_name: Mapping[str, Variable] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: Those of the aliases that are no other ways to a variable of the model.
    derived: frozenset[str] = frozenset()
    synonyms: Mapping[str, str] = field(default_factory=dict)
    #: Names of tf.Variables that several have -> which.
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optimizers: tuple[Any, ...] = ()
    #: What an optimizer would make, by name.
    coming: Mapping[str, Variable] = field(default_factory=dict)
    #: Objects with state that is no variable -> why that is not saved.
    unsaved: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Variable | None:
        """Return the variable of that name or alias, if there is one; `w` and `w:0` are one.

        Raise NameConflict for the name of several tf.Variables.
        """
        bare = without_output(name)
        found = self.by_name.get(self.canonical(bare))
        if found is None and bare in self.shared:
            raise NameConflict(
                f"{name!r} is the name of {len(self.shared[bare])} variables: "
                f"{', '.join(self.shared[bare])}; use these"
            )
        return found

    def canonical(self, name: str) -> str:
        """Return the name of the variable that *name* means, itself if it is nobody's."""
        return self.aliases.get(name) or self.synonyms.get(name, name)

    @property
    def trainable(self) -> list[Variable]:
        """Those that an optimizer is to train now."""
        return [v for v in self.by_name.values() if v.role == "trainable"]

    @property
    def trained(self) -> list[Variable]:
        """Those that an optimizer is to train, held now or not."""
        return [v for v in self.by_name.values() if is_trained(v)]

    @property
    def optimized(self) -> list[str]:
        """Those that an optimizer has, or will have when it is built."""
        if not self.optimizers:
            return []
        lists = [getattr(o, TRAINED) for o in self.optimizers if hasattr(o, TRAINED)]
        ids = {id(variable_in(v)) for values in lists for v in values or ()}
        return [v.name for v in self.trained if not ids or id(v.inner) in ids]


def variables_of(root: Any, optimizer: Any = None) -> Variables:
    """Look at *root* and its *optimizer* and return their variables."""
    objects = Objects()
    objects.add(root)
    if optimizer is not None:
        objects.add(optimizer, ("optimizer",))
    optimizers = [found for found in objects if is_optimizer(found.value)]
    plain = [found for found in objects if variable_in(found.value) is not None]
    tf_variables = [variable_in(found.value) for found in plain]
    slots = {id(s.value): (s, f) for f in optimizers for s in slots_of(f.value, tf_variables)}
    trained = {id(variable_in(v)) for f in optimizers for v in getattr(f.value, TRAINED, ()) or ()}
    own = [variable(f, objects, root, trained) for f in plain if id(f.value) not in slots]
    owners = {id(v.inner): v for v in own}
    of_slots = [slot(s, f, owners[id(s.owner)]) for s, f in slots.values()]
    by_name = named([*own, *of_slots])
    claims = claims_of(own)
    listed = aliases_of(by_name, claims)
    come = to_come([v for v in own if is_trained(v)], optimizers)
    top = "" if isinstance(root, tf.train.Checkpoint) else "model"
    return Variables(
        by_name=by_name,
        aliases=listed,
        derived=frozenset(listed.keys() - other_ways(by_name)),
        synonyms=synonyms_of(by_name | come, listed, top),
        shared={name: names for name, names in claims.items() if len(names) > 1},
        optimizers=tuple(found.value for found in optimizers),
        coming=come,
        unsaved={found.path: UNSAVED for found in objects if has_other_state(found.value)},
    )


def is_trained(variable: Variable) -> bool:
    """Return whether *variable* is trainable, or would be if nobody held it."""
    return variable.role == "trainable" or (
        variable.role == "model" and was_trained(variable.inner)
    )


def named(variables: list[Variable]) -> dict[str, Variable]:
    """Return *variables* by name, or raise naming all that two of them have."""
    by_name = {v.name: v for v in variables}
    if len(by_name) < len(variables):
        counts = Counter(v.name for v in variables)
        twice = [name for name, count in counts.items() if count > 1]
        raise NameConflict(
            f"two variables are called {', '.join(twice)}: look at all objects under names of "
            "your own, session_for(tf.train.Checkpoint(model=model, opt=optimizer))"
        )
    return by_name


def variable(found: Found, objects: Objects, root: Any, trained: set[int]) -> Variable:
    """Return the variable *found*, which is no slot."""
    paths = objects.paths(found)
    role = role_of(found, objects, root, trained)
    return Variable(paths[0], found.value, role, tuple(found.edges), tuple(paths))


def role_of(found: Found, objects: Objects, root: Any, trained: set[int]) -> str:
    """Return what a variable is for; *trained* are those that optimizers say they train, by id."""
    inner = inner_of(found.value)
    parents = [edge.parent for edge in found.edges]
    if found.in_optimizer and id(inner) not in trained:
        return "slot" if last(found.path) in POWERS else "run"  # updates read those, like slots
    if any(type(parent).__name__ in GENERATORS for parent in parents):
        return "run"
    if inner.dtype.is_integer and inner.shape.rank == 0 and is_checkpoint_of(root, parents):
        return "run"
    numbers = inner.dtype.is_floating or inner.dtype.is_complex
    return "trainable" if numbers and found.value.trainable else "model"


def is_checkpoint_of(root: Any, parents: list[Any]) -> bool:
    """Return whether *root* is a checkpoint that itself has what has these *parents*."""
    return isinstance(root, tf.train.Checkpoint) and any(parent is root for parent in parents)


def slot(slot: Slot, optimizer: Found, owner: Variable) -> Variable:
    """Return the variable that a *slot* of *owner* is."""
    paths = tuple(joined(path, slot.key) for path in owner.paths)
    keys = slot_keys(slot.key, optimizer, owner)
    return Variable(paths[0], slot.value, "slot", (), paths, keys, owner.name, slot.key)


def slot_keys(key: str, optimizer: Found, owner: Variable) -> tuple[str, ...]:
    """Return how checkpoints of TensorFlow call the slot *key* of *owner*.

    One of Keras 3 goes by its place in a list, which does not say whose it is.
    """
    if is_keras_optimizer(optimizer.value):
        return ()
    return tuple(f"{path}/.OPTIMIZER_SLOT/{optimizer.path}/{key}" for path in owner.paths)


def to_come(owners: list[Variable], optimizers: list[Found]) -> dict[str, Variable]:
    """Return what *optimizers* that are not built yet would make to train *owners*, by name."""
    found: dict[str, Variable] = {}
    for optimizer in optimizers:
        if is_built(optimizer.value) or not owners:
            continue
        for each in coming(optimizer.value, [v.inner for v in owners]):
            owner = None if each.place is None else owners[each.place]
            starts = (optimizer.path,) if owner is None else owner.paths
            paths = tuple(joined(start, each.key) for start in starts)
            role = "slot" if owner or last(each.key) in POWERS else "run"
            spec = TensorSpec(paths[0], each.dtype, each.shape, role)
            keys = slot_keys(each.key, optimizer, owner) if owner else ()
            beside = (owner.name, each.key) if owner else ("", "")
            found[spec.name] = Variable(spec.name, None, role, (), paths, keys, *beside, spec)
    return found


def claims_of(variables: list[Variable]) -> dict[str, tuple[str, ...]]:
    """Return the names that the tf.Variables themselves have -> whose they are."""
    claims: dict[str, tuple[str, ...]] = {}
    for v in variables:
        own = without_output(variable_path(v.value))
        if v.role in ("trainable", "model") and own != UNNAMED:
            claims[own] = (*claims.get(own, ()), v.name)
    return claims


def aliases_of(
    by_name: Mapping[str, Variable], claims: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Return the aliases that say something new: other ways to a variable, and its own name."""
    tied = {p: v.name for v in by_name.values() if v.role != "slot" for p in v.paths[1:]}
    own = {name: names[0] for name, names in claims.items() if len(names) == 1}
    return {alias: name for alias, name in (own | tied).items() if alias not in by_name}


def other_ways(by_name: Mapping[str, Variable]) -> set[str]:
    """Return the other ways to variables that the model has twice.

    An optimizer has its own, the count of steps, as attributes and in a list: that is once.
    """
    return {p for v in by_name.values() if v.role not in ("slot", "run") for p in v.paths[1:]}


def synonyms_of(
    by_name: Mapping[str, Variable], listed: Mapping[str, str], top: str
) -> dict[str, str]:
    """Return what a checkpoint of TensorFlow may call the variables beside that.

    *top* is what the model is called in it, "" where the names begin at the checkpoint itself.
    """
    claims: dict[str, set[str]] = {}
    own = {name: alias for alias, name in listed.items() if alias not in by_name[name].paths}
    for v in by_name.values():
        beside = [joined(own[v.owner], v.key)] if v.owner in own else []
        names = [*v.paths, *v.keys, *beside]
        for name in (*names, *(joined(top, name) for name in names)):
            claims.setdefault(name, set()).add(v.name)
            claims.setdefault(name + KEY, set()).add(v.name)
    known = by_name.keys() | listed.keys()
    return {
        n: next(iter(whose)) for n, whose in claims.items() if len(whose) == 1 and n not in known
    }
