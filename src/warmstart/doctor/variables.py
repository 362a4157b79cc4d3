"""Variables by role and slots by variable, in a checkpoint of any format."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from ..errors import number_of
from ..names import grouped, leaf_of, parent, parts
from ..restore.slots import is_counter, is_object_slot, is_slot
from ..spec import TensorSpec
from .findings import Piece

#: Slots that tell the kind of an optimizer -> the kind.
KINDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset(("exp_avg", "exp_avg_sq")), "Adam or AdamW"),
    (frozenset(("Adam",)), "Adam of TensorFlow"),
    (frozenset(("mu", "nu")), "Adam or AdamW of optax"),
    (frozenset(("momentum", "velocity")), "Adam or AdamW of Keras"),
    (frozenset(("m", "v")), "Adam of Keras"),
    (frozenset(("exp_avg", "exp_inf")), "Adamax"),
    (frozenset(("square_avg",)), "RMSprop"),
    (frozenset(("RMSProp",)), "RMSProp"),
    (frozenset(("momentum_buffer",)), "SGD with momentum"),
    (frozenset(("Momentum",)), "SGD with momentum"),
    (frozenset(("trace",)), "SGD with momentum of optax"),
    (frozenset(("momentum",)), "SGD with momentum"),
    (frozenset(("sum",)), "Adagrad"),
    (frozenset(("Adagrad",)), "Adagrad"),
    (frozenset(("accumulator",)), "Adagrad"),
)
KNOWN = frozenset().union(*(slots for slots, _ in KINDS))


def slots_of(specs: Mapping[str, TensorSpec]) -> list[str]:
    """Return the names of optimizer slots: by their role, or where none is recorded by name."""
    slots = [name for name, spec in specs.items() if spec.role == "slot"]
    if slots or any(spec.role == "trainable" for spec in specs.values()):
        return slots
    return [
        n for n in specs if is_slot(n, specs) or (is_object_slot(n) and "/.OPTIMIZER_SLOT/" in n)
    ]


def variables_of(specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Return the role, "" if none is recorded, of each variable of a model in *specs*."""
    slots = set(slots_of(specs))
    return {
        name: spec.role or ""
        for name, spec in specs.items()
        if spec.role not in ("slot", "run") and name not in slots and not is_counter(name)
    }


def variables(found: Mapping[str, str]) -> Piece:
    """Return the finding on a model's variables, given with their roles."""
    roles = Counter(found.values())
    by_role = ", ".join(f"{count} {role}" for role, count in roles.items() if role)
    text = number_of(len(found), "variable") + (f": {by_role}" if by_role else "")
    return Piece("variables", bool(found), text if found else "")


def kind_of(slots: Collection[str]) -> str:
    """Return the kind of optimizer that keeps such *slots*, "" when unknown.

    >>> kind_of(["step", "exp_avg", "exp_avg_sq"])
    'Adam or AdamW'
    """
    return next((kind for needed, kind in KINDS if needed.issubset(slots)), "")


def kinds_of_slots(
    names: Iterable[str], others: Mapping[str, Collection[str]] = MappingProxyType({})
) -> list[str]:
    """Return what the slots *names* are called without their variables; *others* are their aliases.

    Those that have only numbers are counted.

    >>> kinds_of_slots(["fc.weight/exp_avg", "opt_state/0/mu/Dense_0/kernel", "fc.weight/step"])
    ['exp_avg', 'mu', 'step']
    >>> kinds_of_slots(["optimizer/2", "optimizer/3"])
    ['2 tensors']
    """
    kinds = [kind_of_slot(name, others.get(name, ())) for name in names]
    numbered = sum(map(str.isdecimal, kinds))
    found = dict.fromkeys(kind for kind in kinds if not kind.isdecimal())
    return [*found, *([number_of(numbered, "tensor")] if numbered else [])]


def kind_of_slot(name: str, others: Iterable[str]) -> str:
    """Return what the slot *name* is called without its variable; *others* are its other names."""
    words = words_of(name)
    known = [word for word in words if word in KNOWN]
    if known or not words[-1].isdecimal():
        return (known or words)[-1]
    return next((words_of(other)[-1] for other in others), words[-1])


def words_of(name: str) -> list[str]:
    """Return the parts of a slot's name, from the outermost in; what TensorFlow adds is left out.

    >>> words_of("optimizer/_variables/2/.ATTRIBUTES/VARIABLE_VALUE"), words_of("m.0.weight/m")
    (['optimizer', '_variables', '2'], ['m.0.weight', 'weight', 'm'])
    """
    plain = [part for part in parts(name) if part not in (".ATTRIBUTES", "VARIABLE_VALUE")]
    return [word for part in plain for word in dict.fromkeys((part, leaf_of(part)))]


def without_slots(specs: Mapping[str, TensorSpec], slots: Collection[str]) -> list[str]:
    """Return the trainable variables that have no slot named after them, while others have."""
    trainable = [name for name, spec in specs.items() if spec.role == "trainable"]
    owners = {parent(name) for name in slots}
    if not owners.intersection(trainable):
        return []  # named otherwise, as optax does
    return [name for name in trainable if name not in owners]


def others_of(aliases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the other names of each tensor that has any."""
    found: dict[str, list[str]] = {}
    for alias, name in aliases.items():
        found.setdefault(name, []).append(alias)
    return found


def shortly(names: Collection[str]) -> str:
    """Return *names* in a line, grouped, with the number of those left out.

    >>> shortly(["a/b", "a/c"])
    'a/{b,c}'
    """
    lines = list(grouped(names))
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return ", ".join(lines[:3]) + more
