"""Optimizer slots and step counters known by name alone, where a file records no roles.

TensorFlow 1 names a slot after its variable and its optimizer, `fc/kernel/Adam`, and a second one
`fc/kernel/Adam_1`.  A tensor is taken for a slot only if the variable it would belong to is there
too, so that a layer that happens to be called `Adam` is not.
"""

import re
from collections.abc import Collection, Container, Iterable, Mapping

from ..layer import BATCHES
from ..names import inside, leaf_of, parent, parents, without_output
from ..spec import TensorSpec

#: Optimizers whose slots bear their name: those of tf.compat.v1.train, then of tf.contrib and BERT.
OPTIMIZERS = frozenset(
    ("Adadelta", "Adagrad", "AdagradDA", "Adam", "Ftrl", "GradientDescent", "Momentum",
     "ProximalAdagrad", "ProximalGradientDescent", "RMSProp",
     "AdaMax", "AdamW", "AdamWOptimizer", "AddSignOptimizer", "LARSOptimizer", "LAMBOptimizer",
     "LazyAdam", "MomentumW", "MomentumWOptimizer", "Nadam", "PowerSignOptimizer",
     "adam_m", "adam_v")
)  # fmt: skip

#: Scalars that count steps: TensorFlow's global step, and Adam's powers of its betas.
COUNTERS = frozenset(("global_step", "beta1_power", "beta2_power"))

#: Where a TensorFlow 2 object checkpoint keeps its graph of objects.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def slot_name(name: str) -> str:
    """Return the last part of *name* without the number that tells equal ones apart.

    >>> slot_name("fc/kernel/Adam_1"), slot_name("fc/kernel/Adam")
    ('Adam', 'Adam')
    """
    return re.sub(r"_\d+$", "", inside(name, parent(name)) or name)


def is_slot(name: str, names: Container[str], known: Collection[str] = ()) -> bool:
    """Return whether *name* is a slot of a variable in *names*; *known* adds to the table.

    >>> is_slot("fc/kernel/Adam_1", {"fc/kernel"}), is_slot("Adam/kernel", {"Adam"})
    (True, False)
    """
    if parent(name) not in names:  # true of most names, and faster to find out
        return False
    last = slot_name(name)
    return last in OPTIMIZERS or last in known


def is_counter(name: str) -> bool:
    """Return whether *name* is that of a step counter.

    >>> is_counter("global_step"), is_counter("opt/beta1_power_1"), is_counter("steps")
    (True, True, False)
    """
    return slot_name(name) in COUNTERS


def is_batch_counter(spec: TensorSpec) -> bool:
    """Return whether *spec* is what PyTorch's batch norm counts its batches in."""
    return not spec.shape and leaf_of(spec.name) == BATCHES


def is_object_slot(name: str) -> bool:
    """Return whether a TensorFlow 2 object checkpoint keeps training state under *name*.

    >>> is_object_slot("model/w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE")
    True
    """
    in_object = inside(name, "optimizer") or inside(name, "save_counter")
    if inside(name, "optimizer/_trainable_variables") is not None:  # Keras 3: the model's own
        return False
    return in_object is not None or "/.OPTIMIZER_SLOT/" in name or name == OBJECT_GRAPH


def training_only(
    specs: Mapping[str, TensorSpec], among: Collection[str] | None = None
) -> set[str]:
    """Return the names in *specs*, or *among* some, that the table takes for slots and counters."""
    names = specs if among is None else among
    counters = {name for name in names if not specs[name].shape and is_counter(name)}
    slots = {name for name in names if is_slot(name, specs)}
    of_objects = filter(is_object_slot, names) if OBJECT_GRAPH in specs else ()
    return counters | slots | {*of_objects}


def slots_in(specs: Mapping[str, TensorSpec], names: Iterable[str]) -> set[str]:
    """Return those of *names* that are slots: by role, or else since they stand under another."""
    names = list(names)
    found = [specs[name] for name in names]
    slots = {name for name, spec in zip(names, found, strict=True) if spec.role == "slot"}
    unsaid = [name for name, spec in zip(names, found, strict=True) if spec.role is None]
    owners = parents(unsaid)
    scopes = set(owners)
    there = scopes.intersection(specs)
    there |= scopes.intersection([without_output(n) for n in specs if n.endswith(":0")])
    if not there:
        return slots
    return slots.union(n for n, owner in zip(unsaid, owners, strict=True) if owner in there)
