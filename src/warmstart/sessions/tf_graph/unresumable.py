"""What a train op depends on that is in no checkpoint.

Random operations that keep their state in the kernel, Python code, iterators, queues and tables all
begin anew in a new process.  Operations are also looked for in the functions that control flow and
`tf.function` make.  Initializers are none of a train op's ancestors, so they do not count.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from .walk import VARIABLES, ancestors

RANDOM = (
    "a random operation whose state is in no checkpoint; use tf.random.stateless_* seeded by the "
    "global step, or a tf.random.Generator"
)
DATA = "its place in the data is in no checkpoint; feed batches from Python instead"
TABLE = "what it holds is in no checkpoint"
PYTHON = "Python code whose state is in no checkpoint"
LOCAL = "a local variable, which no checkpoint holds; add it to GLOBAL_VARIABLES"

#: How the type of a stateful operation begins or, after `*`, ends -> why it cannot be resumed.
REASONS: tuple[tuple[str, str], ...] = (
    ("Random", RANDOM),
    ("TruncatedNormal", RANDOM),
    ("ParameterizedTruncatedNormal", RANDOM),
    ("Multinomial", RANDOM),
    ("SampleDistortedBoundingBox", RANDOM),
    ("*CandidateSampler", RANDOM),
    ("AnonymousRandomSeedGenerator", RANDOM),
    ("IteratorGetNext", DATA),
    ("*QueueV2", DATA),
    ("*ReaderV2", DATA),
    ("MutableHashTable", TABLE),
    ("MutableDenseHashTable", TABLE),
    ("PyFunc", PYTHON),
    ("EagerPyFunc", PYTHON),
)


def unresumable(train_ops: Iterable[Any]) -> Mapping[str, str]:
    """Return the name of every such operation that *train_ops* depend on, with the reason."""
    ops = ancestors(train_ops)
    found = {op.name: reason for op in ops if (reason := reason_for(op.op_def))}
    callers = {op for op in ops if any(called_by(op.node_def))}
    if callers:
        graph = next(iter(callers)).graph
        library = {f.signature.name: f for f in graph.as_graph_def().library.function}
        for op in callers:
            found |= in_functions(graph, library, op.node_def, op.name)
    return dict(sorted((found | local_variables(ops)).items()))


def reason_for(op_def: Any) -> str | None:
    """Return why an operation of this kind cannot be resumed, None where it can."""
    if not op_def.is_stateful:
        return None
    kind = op_def.name
    for name, reason in REASONS:
        if kind.endswith(name[1:]) if name.startswith("*") else kind.startswith(name):
            return reason
    return None


def called_by(node: Any) -> Iterator[str]:
    """Yield the names of the functions among the attributes of a NodeDef."""
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        for function in attribute.list.func:
            yield function.name


def in_functions(
    graph: Any, library: Mapping[str, Any], caller: Any, path: str, above: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return what cannot be resumed in the functions that *caller* calls, and in theirs.

    *above* are the functions on the way here: a function may call itself.
    """
    found: dict[str, str] = {}
    for name in called_by(caller):
        if name not in library or name in above:
            continue
        for node in library[name].node_def:
            here = f"{path}/{node.name}"
            if node.op not in library and (reason := reason_for(graph.op_def_for_type(node.op))):
                found[here] = reason
            found |= in_functions(graph, library, node, here, (*above, name))
    return found


def local_variables(ops: Iterable[Any]) -> dict[str, str]:
    """Return the variables among *ops* that are local ones only."""
    used = {op.name: op for op in ops if op.type in VARIABLES}
    if not used:
        return {}
    graph = next(iter(used.values())).graph
    keys = tf.compat.v1.GraphKeys
    saved = {variable.op.name for variable in graph.get_collection(keys.GLOBAL_VARIABLES)}
    local = {variable.op.name for variable in graph.get_collection(keys.LOCAL_VARIABLES)}
    return dict.fromkeys((used.keys() & local) - saved, LOCAL)
