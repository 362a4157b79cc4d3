"""What every variable of a graph is for.

trainable   in TRAINABLE_VARIABLES
run         step counters, the state of a tf.random.Generator
slot        optimizer state: an input that an optimizer's update changes besides its variable,
            a power of beta it reads, what the optimizer itself lists, or else a known name
model       everything else: statistics, moving averages, frozen weights
"""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from ...names import last, parent
from .variables import Variable
from .walk import VARIABLES, is_apply

KEYS = tf.compat.v1.GraphKeys

#: The last part of a slot's name under its variable, as TensorFlow's optimizers call them by
#: default; needed where no update shows the slot: Adam on a variable that is only gathered.
SLOT_NAMES = frozenset(
    f"{base}{suffix}"
    for base in ("Adam", "Momentum", "Adagrad", "Adadelta", "RMSProp", "Ftrl", "AdagradDA",
                 "ProximalAdagrad")
    for suffix in ("", "_1", "_2")
)  # fmt: skip

#: Inputs of an update that are optimizer state although they are not one per variable.
POWERS = ("beta1_power", "beta2_power")

#: Operations that advance the state of a tf.random.Generator.
GENERATORS = ("Rng", "Stateful", "NonDeterministicInts")


def roles_of(
    graph: Any, variables: Mapping[str, Variable], optimizer: Any = None
) -> dict[str, str]:
    """Return the role of each of *variables*."""
    trainable = op_names(graph.get_collection(KEYS.TRAINABLE_VARIABLES))
    slots = slots_in(graph) | slots_of(optimizer, graph)
    run = counters(graph, variables) | generators(variables)
    return {v.name: role(v, variables, trainable, slots, run) for v in variables.values()}


def role(
    variable: Variable,
    variables: Mapping[str, Variable],
    trainable: set[str],
    slots: set[str],
    run: set[str],
) -> str:
    """Return the role of one variable; what the graph shows goes before what a name suggests."""
    ops = set(variable.op_names)
    if ops & trainable:
        return "trainable"
    if ops & run:
        return "run"
    if ops & slots or named_like_slot(variable.name, variables):
        return "slot"
    return "model"


def op_names(tf_variables: Iterable[Any]) -> set[str]:
    """Return the names of the operations of *tf_variables*."""
    return {variable.op.name for variable in tf_variables}


def slots_in(graph: Any) -> set[str]:
    """Return the variables that optimizers' updates in *graph* use as their state."""
    found: set[str] = set()
    for op in graph.get_operations():
        if is_apply(op):
            found.update(state_inputs(op))
    return found


def state_inputs(op: Any) -> Iterable[str]:
    """Yield the variables that the update *op* uses besides the one it is for, its first input."""
    for argument, tensor in list(zip(op.op_def.input_arg, op.inputs, strict=True))[1:]:
        source = tensor.op
        if argument.name in POWERS and source.type not in VARIABLES and source.inputs:
            source = source.inputs[0].op  # a read
        changes = argument.is_ref or argument.type == tf.resource.as_datatype_enum
        if source.type in VARIABLES and (changes or argument.name in POWERS):
            yield source.name


def slots_of(optimizer: Any, graph: Any) -> set[str]:
    """Return the variables that *optimizer* says are its own."""
    listed = getattr(optimizer, "variables", None)
    if not callable(listed):
        return set()
    with graph.as_default():
        return op_names(variable for variable in listed() if variable.graph is graph)


def named_like_slot(name: str, variables: Mapping[str, Variable]) -> bool:
    """Return whether *name* is one that TensorFlow's optimizers give to their state."""
    own = last(name)
    return (own in SLOT_NAMES and parent(name) in variables) or own.startswith(POWERS)


def counters(graph: Any, variables: Mapping[str, Variable]) -> set[str]:
    """Return the step counters: the global step, and other integers that are counted up."""
    declared = op_names(graph.get_collection(KEYS.GLOBAL_STEP))
    integers = {
        op_name
        for v in variables.values()
        if v.shape == () and v.dtype in ("int64", "int32")
        for op_name in v.op_names
    }
    counted = {
        op.inputs[0].op.name
        for op in graph.get_operations()
        if op.type in ("AssignAdd", "AssignAddVariableOp")
    }
    named = {name for name in integers if last(name) == "global_step"}
    return declared | named | (integers & counted)


def generators(variables: Mapping[str, Variable]) -> set[str]:
    """Return the states of random generators."""
    return {
        part.op_name
        for v in variables.values()
        if v.dtype in ("int64", "uint64")
        for part in v.parts
        if is_generator(part)
    }


def is_generator(part: Any) -> bool:
    """Return whether *part* is the state of a tf.random.Generator, used or not."""
    handle = part.variable.op
    users = {c.type for tensor in handle.outputs for c in tensor.consumers()}
    unused = last(part.op_name).startswith("StateVar")
    return unused or any(user.startswith(GENERATORS) for user in users)
