"""The variables of an optimizer, each with the variable of the model that it belongs to.

    <variable>/<slot>                    one of a list that runs beside the model's variables
    optimizer/<name>                     the rest: iteration, learning_rate, step_counter

A slot is known by where the optimizer keeps it, never by its name: `adam/a_b_c_momentum` may belong
to `a/b_c` or to `a_b/c`, and Adafactor's have the name of the layer's variable alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras import Variable as KerasVariable
from keras.optimizers import Optimizer

from ...errors import described
from ...keras_names import public
from ...names import joined, last, parent
from ...spec import TensorSpec
from .unbuilt import without_memory
from .variables import Variable
from .walk import KEPT_BY_KERAS, attributes_of

OPTIMIZER = "optimizer"


def innermost(optimizer: Any) -> Any:
    """Return the optimizer that keeps the slots: what a LossScaleOptimizer has inside."""
    while (inner := getattr(optimizer, "inner_optimizer", None)) is not None:
        optimizer = inner
    return optimizer


def of_optimizer(optimizer: Any, names: Mapping[int, str]) -> Iterator[Variable]:
    """Yield the variables of *optimizer*; *names* are those of the model's by id."""
    if optimizer is None:
        return
    inner = innermost(optimizer)
    slots = slots_of(inner, names)
    for each in [optimizer] if inner is optimizer else [optimizer, inner]:
        scope = OPTIMIZER if each is optimizer else joined(OPTIMIZER, "inner_optimizer")
        attributes = attributes_of(each, each._variables)
        for live in each._variables:
            if id(live) in slots:
                yield Variable(slots[id(live)], live, "slot")
            else:
                yield Variable(joined(scope, name_of(live, attributes)), live, "run")


def name_of(live: Any, attributes: Mapping[int, str]) -> str:
    """Return the name of a variable that belongs to none of the model's.

    The attribute tells it; Keras calls the counter of `iterations` by another name.
    """
    named = live.name in ("iteration", "learning_rate")
    return str(live.name) if named else attributes.get(id(live), live.name)


def slots_of(optimizer: Any, names: Mapping[int, str]) -> dict[int, str]:
    """Return the names of the slots by the ids of the live variables."""
    if not optimizer.built:
        return {}
    owners = optimizer._trainable_variables
    found: dict[int, str] = {}
    for attribute, slots in slot_lists(optimizer):
        for owner, slot in zip(owners, slots, strict=True):
            if id(owner) in names and isinstance(slot, KerasVariable):
                leaf = slot_name(owner, slot, public(attribute))
                found.setdefault(id(slot), joined(names[id(owner)], leaf))
    return found


def slot_lists(optimizer: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists that *optimizer* keeps beside its variables, by attribute."""
    size = len(optimizer._trainable_variables)
    for attribute, value in vars(optimizer).items():
        if attribute in KEPT_BY_KERAS or not isinstance(value, list) or len(value) != size:
            continue
        if any(isinstance(each, KerasVariable) for each in value):
            yield attribute, value


def slot_name(owner: Any, slot: Any, attribute: str) -> str:
    """Return what *slot* is for its variable: Keras appends it to the variable's flattened path."""
    start = owner.path.replace("/", "_") + "_"
    if slot.name.startswith(start):
        return str(slot.name.removeprefix(start))
    return attribute


def check_kind(optimizer: Any) -> None:
    """Raise TypeError unless *optimizer* is one of Keras'."""
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"the optimizer is {described(optimizer)}; a Keras model takes a "
            "keras.optimizers.Optimizer"
        )


def build(optimizer: Any, model: Any) -> None:
    """Let *optimizer* make its slots for the trainable variables of *model*, as `fit` would."""
    if not optimizer.built and model.trainable_variables:
        optimizer.build(model.trainable_variables)


def twin_of(optimizer: Any, model: Any) -> Any:
    """Return an optimizer like *optimizer*, with its slots, which the model knows nothing of."""
    twin = like(optimizer)
    try:
        with without_memory():
            build(twin, model)
    except ValueError:  # Adafactor makes some of its slots in a way that needs memory
        twin = like(optimizer)
        build(twin, model)
    return twin


def like(optimizer: Any) -> Any:
    """Return a new optimizer of the same kind with the same options."""
    return type(optimizer).from_config(optimizer.get_config())


def numbers(optimizer: Any, known: Iterable[Variable]) -> dict[str, Variable]:
    """Return the *known* variables of *optimizer* by their numbers in a file: `optimizer/5`."""
    named = {id(each.live): each for each in known}
    return {
        joined(OPTIMIZER, str(index)): named[id(live)]
        for index, live in enumerate(optimizer.variables)
        if id(live) in named
    }


def by_number(
    optimizer: Any, known: Iterable[Variable], specs: Mapping[str, TensorSpec]
) -> dict[str, Variable]:
    """Return the variables that *specs* have by their numbers, as a file of weights alone does.

    It is believed only if it has all but the first two, which have names, and all shapes are right.
    """
    found = {
        name: each
        for name, each in numbers(optimizer, known).items()
        if each.name not in (joined(OPTIMIZER, "iteration"), joined(OPTIMIZER, "learning_rate"))
    }
    if {name for name in specs if is_number(name)} != found.keys():
        return {}
    right = all(specs[name].shape == tuple(each.live.shape) for name, each in found.items())
    return found if right else {}


def is_number(name: str) -> bool:
    """Return whether *name* is that of an optimizer's variable by its number.

    >>> is_number("optimizer/12"), is_number("optimizer/iteration"), is_number("head/0")
    (True, False, False)
    """
    number = last(name)
    return parent(name) == OPTIMIZER and number.isascii() and number.isdigit()
