"""What stands between gradients and variables, in every optimizer of Keras, while it is needed.

    BaseOptimizer.apply                     frozen variables and their gradients are left out: no
                                            decay, no momentum, no constraint, no moving average;
                                            frozen parts of variables are put back; processors of
                                            gradients have their turn
    BaseOptimizer.finalize_variable_values  the moving average replaces no frozen variable

`fit`, `train_on_batch` and loops of one's own end in `apply`, on every backend, also of an
optimizer that is made or compiled later.  The variables stay trainable for Keras, so what it has
built for them, an optimizer's slots and their order, stays valid.  The methods are replaced while
anything is frozen or processed, and put back afterwards.  Steps are compiled, so whoever freezes
has them compiled anew.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from keras.src.backend import name_scope
from keras.src.optimizers.base_optimizer import BaseOptimizer

from .regions import kept, masked


class Holder(Protocol):
    """Whoever holds variables still."""

    variables: tuple[Any, ...]  # wholly
    layers: tuple[Any, ...]  # in inference mode
    masks: dict[int, np.ndarray]  # id of a variable -> where it is held


#: Who holds variables still, by the model they belong to: a model that is gone is forgotten.
HOLDERS: WeakKeyDictionary[Any, list[Holder]] = WeakKeyDictionary()

#: (gradient, variable) pairs.
Pairs = list[tuple[Any, Any]]


class Processing(Protocol):
    """What is done to gradients before an optimizer has them."""

    def __call__(self, optimizer: Any, pairs: Pairs) -> Pairs:
        """Return what *optimizer* is to see of *pairs*."""

    def after_watchers(self) -> AbstractContextManager[Any]:
        """Let nothing in the block move before whoever looks at the gradients has seen them."""


PROCESSING: WeakKeyDictionary[Any, Processing] = WeakKeyDictionary()

#: The methods that ours are in the place of, by name.
BEFORE: dict[str, Callable[..., None]] = {}


def add(model: Any, holder: Holder) -> None:
    """Hold the variables of *holder* still until it is removed."""
    HOLDERS.setdefault(model, []).append(holder)
    install()


def remove(model: Any, holder: Holder) -> None:
    """Hold them no longer."""
    HOLDERS[model].remove(holder)
    install()


def process(optimizer: Any, processing: Processing) -> None:
    """Let *processing* have every gradient before *optimizer* has."""
    PROCESSING[optimizer] = processing
    install()


def install() -> None:
    """Put our methods in the place of those that are there, or these back if nobody needs ours.

    Others have theirs there too (tf2/optimizer_hooks.py): what is around ours stays.
    """
    needed = any(HOLDERS.values()) or len(PROCESSING) > 0
    for name, ours in (("apply", apply), ("finalize_variable_values", finalize)):
        there = getattr(BaseOptimizer, name)
        if needed and name not in BEFORE:
            BEFORE[name] = there
            setattr(BaseOptimizer, name, ours)
        elif not needed and there is ours:
            setattr(BaseOptimizer, name, BEFORE.pop(name))


def holders() -> Iterator[Holder]:
    """Yield whoever holds anything now."""
    for each in tuple(HOLDERS.values()):
        yield from each


def is_held(variable: Any) -> bool:
    """Return whether all of *variable* is held still."""
    return any(variable is v for h in holders() for v in h.variables)


def all_held() -> set[int]:
    """Return the ids of all variables, Keras' and the backend's own, that are wholly held still."""
    return {id(each) for h in holders() for v in h.variables for each in (v, v._value)}


def mask_of(variable: Any) -> np.ndarray | None:
    """Return where *variable* is held still, None if nowhere in particular."""
    masks = [h.masks[id(variable)] for h in holders() if id(variable) in h.masks]
    found: np.ndarray | None = None
    for mask in masks:
        found = mask if found is None else found | mask
    return found


def apply(self: Any, grads: Sequence[Any], trainable_variables: Any = None) -> None:
    """Apply gradients as Keras does, to what is not frozen."""
    given = self._trainable_variables if trainable_variables is None else trainable_variables
    variables = list(given)
    held = all_held() & {id(v) for v in (*variables, *self._trainable_variables)}
    masks = {id(v): mask for v in variables if (mask := mask_of(v)) is not None}
    processing = PROCESSING.get(self)
    unbuilt = trainable_variables is None and not self.built  # Keras says what to do
    if unbuilt or not (held or masks or processing):
        BEFORE["apply"](self, grads, trainable_variables)
        return
    if not self.built:  # for all of them: they may be thawed
        with name_scope(self.name, caller=self):
            self.build(variables)
    pairs = [
        (masked(gradient, masks.get(id(v))), v)
        for gradient, v in zip(grads, variables, strict=True)
        if id(v) not in held
    ]
    with ExitStack() as stack:
        if processing is not None:
            pairs = processing(self, pairs)
            stack.enter_context(processing.after_watchers())
            stack.enter_context(unscaled(self))
        stack.enter_context(kept(self, [v for v in variables if id(v) in masks], masks))
        stack.enter_context(narrowed(self, held))
        if pairs:
            BEFORE["apply"](self, [gradient for gradient, _ in pairs], [v for _, v in pairs])
        else:
            self._iterations.assign_add(1)


def finalize(self: Any, var_list: Sequence[Any]) -> None:
    """Replace variables by their moving averages as Keras does, but for what is frozen."""
    held = all_held() & {id(v) for v in (*var_list, *self._trainable_variables)}
    masks = {id(v): mask for v in var_list if (mask := mask_of(v)) is not None}
    with kept(self, [v for v in var_list if id(v) in masks], masks), narrowed(self, held):
        BEFORE["finalize_variable_values"](self, [v for v in var_list if id(v) not in held])


@contextmanager
def narrowed(optimizer: Any, held: set[int]) -> Iterator[None]:
    """Let *optimizer* know nothing of variables whose ids are *held* where it moves all it knows.

    That is the moving average, and what gradients are accumulated in.
    """
    own = vars(optimizer)
    variables = own["_trainable_variables"]
    left = [id(v) not in held for v in variables]
    changed: dict[str, Any] = {}
    if not all(left) and optimizer.use_ema:
        averages = own["_model_variables_moving_average"]
        changed["_trainable_variables"] = only(variables, left)
        changed["_model_variables_moving_average"] = only(averages, left)
    if not all(left) and optimizer.gradient_accumulation_steps:
        accumulated = zip(own["_accumulated_gradients"], left, strict=True)
        changed["_accumulated_gradients"] = [each if keep else None for each, keep in accumulated]
    with replaced(own, changed):
        yield


def only(items: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
    """Return those of *items* that are *wanted*."""
    return [each for each, keep in zip(items, wanted, strict=True) if keep]


@contextmanager
def unscaled(optimizer: Any) -> Iterator[None]:
    """Let *optimizer* take gradients whose scale has been taken away already."""
    with replaced(vars(optimizer), {"loss_scale_factor": None}):
        yield


@contextmanager
def replaced(own: dict[str, Any], changed: dict[str, Any]) -> Iterator[None]:
    """Put *changed* into *own* for the length of the block."""
    before = {key: own[key] for key in changed}
    own.update(changed)
    try:
        yield
    finally:
        own.update(before)
