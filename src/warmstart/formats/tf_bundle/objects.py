"""What the graph of objects tells of a checkpoint's tensors: other names for them, and roles.

    model/d1/kernel/.ATTRIBUTES/VARIABLE_VALUE      the key, always the tensor's name
    conv/kernel                                     the variable's own name, as TensorFlow 1 has it
    model/d1/kernel                                 where the own name will not do: the path, around
                                                    an optimizer's list of what it trains
    conv/kernel/m                                   a slot, after its variable

An own name that several variables share, or that is a key itself, is nobody's: it would be chance
which of them it means.  (Keras 3 exports each variable twice, with the same bytes: there it is the
first one's.)  Optimizer state has the role "slot", counters and settings of an optimizer, metrics
and the count of saves "run"; of the others the graph does not say whether they are trained.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ...names import first, inside, joined, keras_slot, object_path, parts
from .object_graph import EMPTY, OBJECT_GRAPH, SUFFIX, Node, ObjectGraph

SAVE_COUNTER = "save_counter"

#: Lists of Keras' optimizers: of all their variables, and of those that they train.
STATE, TRAINED = "_variables", "_trainable_variables"

#: What else they have that is empty in the graph.
DICTS = ("_trainable_variables_indices", "_exclude_from_weight_decay_cache")

#: What TensorFlow calls a variable that nobody named.
UNNAMED = "Variable"

#: Characters of a path that is looked for: those of objects deep in one another would take far more
#: memory than the file that names them.
MAX_PATH = 500

#: Where Keras 2 keeps the running values of metrics in a SavedModel.
METRICS = "keras_api/metrics/"

#: Where Keras 3 keeps its second copy of each variable in a SavedModel.
COPIES = "_all_variables"

#: Variables of TensorFlow 1's optimizers that the updates read, as slots are.
POWERS = ("beta1_power", "beta2_power")


@dataclass(frozen=True, slots=True)
class Objects:
    """What is known of a checkpoint's tensors from its graph of objects, by key."""

    roles: Mapping[str, str] = field(default_factory=dict)
    #: Other name -> key.
    aliases: Mapping[str, str] = field(default_factory=dict)
    #: Own name -> the keys of all variables that have it, where they are several.
    shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: What is wrong with the graph; then nothing in it is believed.
    fault: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A tensor of an optimizer: the slot of which variable, if that is known, and called what."""

    key: str
    variable: str | None = None  # its key
    slot: str = ""


@dataclass(frozen=True)
class Variables:
    """The variables of a graph that the checkpoint has."""

    keys: Mapping[int, str]  # by node
    own_names: Mapping[str, str]  # by key; some are empty

    @cached_property
    def claims(self) -> Mapping[str, list[str]]:
        """The keys of all variables that have an own name, by that name."""
        found: dict[str, list[str]] = {}
        for key, own_name in self.own_names.items():
            if own_name:
                found.setdefault(own_name, []).append(key)
        return found

    def under(self, node: Node) -> dict[str, str]:
        """Return the key of each part of *node* that is a variable, by the part's name."""
        return {n: self.keys[child] for n, child in node.children.items() if child in self.keys}


def objects_of(
    data: bytes, names: Collection[str], alike: Callable[[Collection[str]], bool]
) -> Objects:
    """Return what the graph in *data* tells of the tensors called *names*.

    *alike* returns whether several of them have the same bytes.
    """
    graph = ObjectGraph(data)
    variables, optimizers = found_in(graph, names)
    states = {s.key: s for n in optimizers for s in states_of(graph[n], graph, variables)}
    run = run_state(graph, optimizers, variables)
    shared = {
        own_name: tuple(keys)
        for own_name, keys in variables.claims.items()
        if len(keys) > 1 and own_name not in names and not are_copies(keys, alike)
    }
    nobodys = {*shared, *names, UNNAMED}
    clear = {keys[0]: n for n, keys in variables.claims.items() if n not in nobodys}
    return Objects(
        roles=dict.fromkeys(run, "run") | dict.fromkeys(states, "slot") | {OBJECT_GRAPH: "run"},
        aliases=aliases_of(variables, states, clear, names, paths_of(graph, variables, optimizers)),
        shared=shared,
    )


def broken(reason: str) -> Objects:
    """Return what is known where the graph cannot be used, and warn of it."""
    import logging  # 3 ms, which a listing does without

    fault = f"the graph of objects cannot be used, so variables have only their keys: {reason}"
    logging.getLogger("warmstart").warning("%s", fault)
    return Objects(fault=fault)


def found_in(graph: ObjectGraph, names: Collection[str]) -> tuple[Variables, list[int]]:
    """Return those variables of *graph* that are among *names*, and the number of each optimizer.

    Objects are parsed anew when they are asked for: kept, they take forty times their bytes.
    """
    keys: dict[int, str] = {}
    own_names: dict[str, str] = {}
    optimizers: list[int] = []
    for number, node in enumerate(graph):
        variable = node.variable
        if variable is not None and variable.key in names:
            keys[number] = variable.key
            own_names.setdefault(variable.key, variable.own_name)
        if node.is_optimizer:
            optimizers.append(number)
    return Variables(keys, own_names), optimizers


def states_of(optimizer: Node, graph: ObjectGraph, variables: Variables) -> Iterator[State]:
    """Yield every tensor of *optimizer* that its updates change besides what they train."""
    keys = variables.keys
    for slot in optimizer.slots:
        if slot.node in keys:
            yield State(keys[slot.node], keys.get(slot.variable), slot.name)
    own = variables.under(optimizer)
    yield from (State(own[name]) for name in POWERS if name in own)
    if STATE in optimizer.children:
        lists = {n: variables.under(graph[child]) for n, child in optimizer.children.items()}
        trained = lists.pop(TRAINED, {})
        listed = lists.pop(STATE)
        state = set(listed.values()).difference(own.values(), trained.values())
        own_names = variables.own_names
        paired = {
            key: State(
                key, trained[place], keras_slot(own_names[key], own_names[trained[place]], n)
            )
            for n, keys_in_list in lists.items()
            for place, key in keys_in_list.items()
            if key in state and place in trained
        }
        rest = {n: key for n, key in listed.items() if key in state and key not in paired}
        paired |= in_turn(rest, trained, empty_lists(optimizer, graph), own_names)
        yield from (paired.get(key) or named_state(key, variables) for key in sorted(state))


def empty_lists(optimizer: Node, graph: ObjectGraph) -> list[str]:
    """Return the lists of an optimizer of Keras 3 of which the graph does not say what is in them.

    Keras tells TensorFlow of what is in a list when it is made, not of what is added later.
    """
    parts = optimizer.children.items()
    return [n for n, child in parts if n not in DICTS and graph[child] == EMPTY]


def in_turn(
    state: Mapping[str, str],
    trained: Mapping[str, str],
    lists: Sequence[str],
    own_names: Mapping[str, str],
) -> dict[str, State]:
    """Return the slots that were made for one variable after another, one for each of *lists*.

    Both mappings are place -> key.  Nothing where they are not as many as they would be.
    """
    if not lists or len(state) != len(lists) * len(trained):
        return {}
    keys = iter([state[place] for place in in_order(state)])
    owners = [trained[place] for place in in_order(trained)]
    pairs = [(owner, name) for owner in owners for name in lists]
    return {
        key: State(key, owner, keras_slot(own_names[key], own_names[owner], name))
        for key, (owner, name) in zip(keys, pairs, strict=True)
    }


def in_order(places: Iterable[str]) -> list[str]:
    """Return the *places* in a list from first to last.

    >>> in_order(["10", "2", "0"])
    ['0', '2', '10']
    """
    return sorted(places, key=lambda place: (len(place), place))


def named_state(key: str, variables: Variables) -> State:
    """Return the tensor *key* of an optimizer of Keras 2, which names it Adam/m/VARIABLE."""
    below = inside(variables.own_names[key], first(variables.own_names[key])) or ""
    slot = first(below)
    owners = variables.claims.get(inside(below, slot) or "", ())
    return State(key, owners[0], slot) if len(owners) == 1 else State(key)


def run_state(graph: ObjectGraph, optimizers: list[int], variables: Variables) -> set[str]:
    """Return the keys of counters and settings: of optimizers, of the checkpoint, of metrics."""
    of_root = variables.under(graph[0]) if len(graph) else {}
    settings = {key for n in optimizers for key in variables.under(graph[n]).values()}
    saves = {key for name, key in of_root.items() if name == SAVE_COUNTER}
    return settings | saves | {key for key in variables.own_names if METRICS in key}


def are_copies(keys: Sequence[str], alike: Callable[[Collection[str]], bool]) -> bool:
    """Return whether *keys* are of one variable and its copies; the first one is the variable's."""
    copies = [inside(key, COPIES) is not None for key in keys]
    return copies == [False] + [True] * (len(keys) - 1) and alike(keys)


def aliases_of(
    variables: Variables,
    states: Mapping[str, State],
    clear: Mapping[str, str],
    names: Collection[str],
    paths: Mapping[str, str],
) -> dict[str, str]:
    """Return one other name for each variable, as far as there is one that is only its own.

    *clear* is key -> own name where that means one variable, *paths* are by key.
    """
    wanted = {key: clear[key] for key in variables.own_names if key in clear}
    for state in states.values():
        if state.variable is not None:
            owner = clear.get(state.variable) or paths[state.variable]
            own_name = clear.get(state.key, "")
            follows = inside(own_name, owner) is not None  # TensorFlow 1 does it so: w/Momentum
            wanted[state.key] = own_name if follows else joined(owner, state.slot)
    counts = Counter(wanted.values())
    found = {n: key for key, n in wanted.items() if counts[n] == 1 and n not in names}
    named = set(found.values())
    rest = {paths[key]: key for key in variables.own_names if key not in named}
    return {p: key for p, key in rest.items() if p not in names and p not in found} | found


def paths_of(graph: ObjectGraph, variables: Variables, optimizers: list[int]) -> dict[str, str]:
    """Return the path of each variable, by key.

    The key of one that an optimizer trains may be its place in the optimizer's list, which is
    nearer to the root than where the model has it.  Then the path is that in the model.
    """
    found = {key: path_of(key) for key in variables.own_names}
    listed = {n: key for n, key in variables.keys.items() if TRAINED in parts(key)}
    ways = graph.ways_around(frozenset(optimizers)) if listed else {}
    for number, key in listed.items():
        steps = steps_to(number, ways)
        if steps is not None and TRAINED not in steps:
            found[key] = object_path(steps)
    return found


def steps_to(number: int, ways: Mapping[int, tuple[int, str]]) -> list[str] | None:
    """Return the steps of the way to the object *number*; None where they make too long a path."""
    steps: list[str] = []
    room = MAX_PATH
    while number in ways:
        number, step = ways[number]
        steps.append(step)
        room -= len(step) + 1
        if room < 0:
            return None
    return steps[::-1]


def path_of(key: str) -> str:
    """Return the path of the variable stored under *key*.

    >>> path_of("model/w/.ATTRIBUTES/VARIABLE_VALUE")
    'model/w'
    """
    return key.removesuffix(SUFFIX)
