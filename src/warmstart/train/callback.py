"""What is done beside the training steps."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import described

if TYPE_CHECKING:
    from .trainer import Trainer

#: When a callback has its turn: those that report what the others have put come after them, then
#: those that save the best, and those that save the run last, so that a checkpoint has it all.
ORDINARY, MONITOR, BEST, SAVER = range(4)


class Callback:
    """Something done beside the training steps.  Every method is a no-op by default.

        for c in callbacks: c.load_state(...)                   # resumed runs only
        for c in callbacks: c.start(trainer)
        while trainer.epoch <= max_epoch:
            while trainer.step_in_epoch < steps_per_epoch:
                metrics = model.train_step(batch); trainer.step += 1
                for c in callbacks: c.after_step(trainer, metrics)
            for c in callbacks: c.after_epoch(trainer)          # trainer.metrics: the epoch's means
        for c in reversed(callbacks): c.stop(trainer)           # those that started; also on error

    Subclass it, or give functions: `Callback(after_epoch=lambda trainer: ...)`.  Callbacks have
    their turn in the order given, except that monitors come after the ordinary ones and savers
    last (`turn`).  A callback refuses to know the engine: what it needs of the model it asks of
    `trainer.session`, and what it measures it adds with `trainer.put(name, value)`.
    """

    #: Names this callback's state in a saved run; "" means it has none.
    key: str = ""
    turn: int = ORDINARY
    #: Whether of several processes that train together only process 0 has use for it.
    first_process_only: bool = False

    def __init__(
        self,
        *,
        start: "Callable[[Trainer], None] | None" = None,
        after_step: "Callable[[Trainer, Mapping[str, float]], None] | None" = None,
        after_epoch: "Callable[[Trainer], None] | None" = None,
        stop: "Callable[[Trainer], None] | None" = None,
        state: Callable[[], dict[str, Any]] | None = None,
        load_state: Callable[[Mapping[str, Any]], None] | None = None,
        key: str = "",
    ) -> None:
        if (state is None) != (load_state is None):
            raise ValueError("a callback with a state needs both state= and load_state=")
        if state is not None and not key:
            raise ValueError("a callback with a state needs a key= to be saved under")
        given = {
            "start": start, "after_step": after_step, "after_epoch": after_epoch, "stop": stop,
            "state": state, "load_state": load_state,
        }  # fmt: skip
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)
        if key:
            self.key = key

    def start(self, trainer: "Trainer") -> None:
        """Get ready; the model has its values, and the state of a resumed run is loaded."""

    def after_step(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        """Look at one step; *metrics* is what the model's `train_step` returned."""

    def after_epoch(self, trainer: "Trainer") -> None:
        """Look at one epoch."""

    def stop(self, trainer: "Trainer") -> None:
        """Give back what `start` took; `trainer.finished` tells an end from an error."""

    def state(self) -> dict[str, Any]:
        """Return what a new process needs to go on: a tree of dicts, leaves as JSON or arrays."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned."""


def listed(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return *callbacks* as a list; a callback alone is none."""
    if isinstance(callbacks, Callback):
        name = type(callbacks).__qualname__
        raise TypeError(f"callbacks is a {name}, not a list: callbacks=[{name}(...)]")
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks is {described(callbacks)}; expected a list of callbacks")
    return list(callbacks)


def in_turn(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return *callbacks* in the order they have their turn; refuse what cannot be one list."""
    callbacks = list(callbacks)
    for callback in callbacks:
        if isinstance(callback, type):
            name = callback.__qualname__
            raise TypeError(f"{name} is a class; a callback is an instance of one: {name}()")
        if not isinstance(callback, Callback):
            raise TypeError(
                f"a callback is a {type(callback).__qualname__}; expected a warmstart.Callback"
            )
    refuse_half_states(callbacks)
    refuse_repeated(callback.key for callback in callbacks if callback.key)
    return sorted(callbacks, key=lambda callback: callback.turn)


def refuse_half_states(callbacks: Iterable[Callback]) -> None:
    """Raise for a callback whose state would be saved by no name, or be taken back by nothing."""
    for callback in callbacks:
        name = type(callback).__name__
        says, takes = (overrides(callback, method) for method in ("state", "load_state"))
        if says != takes:
            has, lacks = ("state", "load_state") if says else ("load_state", "state")
            raise ValueError(f"the callback {name} has a {has}() and no {lacks}(); it needs both")
        if says and not callback.key:
            raise ValueError(
                f"the callback {name} has a state() and no key to save it under: set a key, such "
                f"as key = {name.lower()!r}"
            )


def refuse_repeated(keys: Iterable[str]) -> None:
    """Raise if two callbacks would save their state under one key."""
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"two callbacks have the key {key!r}; set .key on one of them")
        seen.add(key)


def overrides(callback: Callback, method: str) -> bool:
    """Return whether *callback* does anything in *method*; calling a no-op has a price too."""
    return method in vars(callback) or getattr(type(callback), method) is not getattr(
        Callback, method
    )
