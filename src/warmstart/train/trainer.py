"""The training loop."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol

from ..errors import described
from ..formats import expanded
from ..names import Pattern, as_patterns, selected
from ..processes import ALONE, TIMEOUT
from ..restore.sessinit import SmartInit
from ..sessions.arguments import made_for
from ..sessions.base import Session
from .beside import places_of
from .callback import BEST, Callback, in_turn, overrides
from .data import REPLAY, Place, Replayed, endless, place_in, placed, warn_of_same
from .defaults import with_defaults
from .epoch_metrics import EpochMetrics
from .gradients import step_of
from .processes import agree_on, do_together, mean_over
from .resume import (
    refuse_lost,
    refuse_unresumable,
    resume,
    taking_back,
    taking_back_unless,
    warn_of_other_trained,
)
from .run_folder import hold_folders
from .run_state import random_states, set_random_states


class Model(Protocol):
    """What the loop needs of a model: `TorchModel`, `TFGraph` and `TFModule` are such.

    It may have more, which is used where it is there: `prepare()` before anything starts,
    `after_epoch()`, `state()`/`load_state()` for what no variable holds, and `gradprocs`, whose
    measurements are among the metrics.
    """

    @property
    def session(self) -> Session:
        """The model's variables, live."""

    def train_step(self, batch: Any) -> Mapping[str, float]:
        """Train on one batch and return what was measured."""


class Trainer:
    """A loop over batches that can be saved after any step and go on as if never stopped."""

    def __init__(self, model: Model) -> None:
        check_trainable(model)
        self.model = model
        self.step = 0  # completed steps, so also the index of the next one
        self.epoch = 1  # the one being run
        self.step_in_epoch = 0
        self.steps_per_epoch = 0
        self.max_epoch = 0
        self.stopping = False  # a callback sets this to end the run after the step
        self.finished = False  # ended without an error
        self.resumed_from: Path | None = None
        self.passed_over: tuple[str, ...] = ()  # what was asked for a first start, and is none now
        self.trained_before: Mapping[str, bool] = {}  # what the resumed run trained, and what not
        self.lost: Mapping[str, str] = {}  # accepted: what no checkpoint of the run holds, and why
        self.callbacks: list[Callback] = []
        self.data: Any = None
        self.also: Mapping[str, Any] = {}
        self._beside: dict[str, Place] = {}  # how each of those says and takes back its state
        self.processes = ALONE  # those that train together, once it begins
        self.accept: tuple[Pattern, ...] = ()
        self._metrics = EpochMetrics()
        self._epoch_done = False  # only the savers have still to see the epoch

    @property
    def session(self) -> Session:
        """The model's variables, live."""
        return self.model.session

    @property
    def metrics(self) -> dict[str, float]:
        """The means of this epoch so far and what callbacks put; after it, the whole epoch's."""
        return self._metrics.values()

    @property
    def at_epoch_end(self) -> bool:
        """Whether the steps of this epoch are complete."""
        return self.step_in_epoch >= self.steps_per_epoch

    def accepts(self, name: str) -> bool:
        """Return whether the piece *name* of a resumed run may be lost."""
        return bool(selected([name], self.accept))

    def put(self, name: str, value: float) -> None:
        """Add a metric to this epoch's, from a callback."""
        self._metrics.put(name, value)

    def train(
        self,
        *,
        data: Iterable[Any],
        max_epoch: int,
        callbacks: Iterable[Callback] | None = None,
        session_init: Any = None,
        steps_per_epoch: int | None = None,
        starting_epoch: int = 1,
        accept: Pattern | Iterable[Pattern] = (),
        also: Mapping[str, Any] | None = None,
        resume_from: str | Path | None = None,
        process_timeout: float = TIMEOUT,
    ) -> None:
        """Train until the end of epoch *max_epoch*, or until a callback sets `stopping`.

        With *callbacks* None there are a ModelSaver, a JSONWriter, a ProgressBar and, where the
        model has update ops, RunUpdateOps; to a list the last three are added where missing.
        *steps_per_epoch* is one pass over *data* unless given.  *resume_from* is a checkpoint of
        a run to go on from exactly, in place of *session_init* and *starting_epoch*; what it
        cannot restore raises ResumeError unless its name, or a pattern for it, is in *accept*.

        *also* are objects by name that are saved and resumed with the run: moving averages,
        gradient scalers, anything with state_dict() and load_state_dict() or the like.

        Where several processes train together, each calls this; one that does not come to a save
        or to the end of an epoch within *process_timeout* seconds of the others is named by them in
        a ProcessError, or a SaveError.
        """
        self.processes = replace(self.session.processes, timeout=process_timeout)
        self._set_up(data, steps_per_epoch, starting_epoch, max_epoch)
        if self.processes.first:
            warn_of_same(self.data, self.processes.count)
        self.callbacks = in_turn(with_defaults(callbacks, self.model))
        self.accept = tuple(as_patterns(accept))
        if place_in(self.data) is None and self.accepts(REPLAY):
            self.data = Replayed(self.data)
        self.also = also or {}
        self._beside = places_of(self.also, (c.key for c in self.callbacks if c.key))
        self._call_model("prepare")
        begin = partial(self._initialize, session_init, resume_from)
        do_together(self.processes, "giving the model its first values", begin)
        if resume_from is not None:
            self.passed_over = for_a_first_start(session_init, starting_epoch)
        generators = random_states(), self.session.state()
        with ExitStack() as started:
            if self._saves():
                self.session.on_unresumable = partial(refuse_lost, self)
                started.callback(setattr, self.session, "on_unresumable", None)
            begin = partial(self._hold_folders, started)
            do_together(self.processes, "holding the folder", begin)
            begin = partial(self._start_callbacks, started)
            do_together(self.processes, "starting the callbacks", begin)
            batches = endless(self.data)
            if self.resumed_from is not None:
                # Starting may have used them, as it did before the first step of the whole run.
                self._set_generators(*generators)
                warn_of_other_trained(self.trained_before, self.session)
            self._run(batches)
            self.finished = True
        self.processes.leave()

    def _set_up(
        self, data: Iterable[Any], steps_per_epoch: int | None, starting_epoch: int, max_epoch: int
    ) -> None:
        """Check what was asked for and stand before the first step of *starting_epoch*."""
        steps_per_epoch = checked_steps(data, steps_per_epoch)
        for name, value in (("starting_epoch", starting_epoch), ("max_epoch", max_epoch)):
            if not isinstance(value, int):
                raise TypeError(f"{name} is {value!r}; expected the number of an epoch")
        if starting_epoch < 1:
            raise ValueError(f"starting_epoch is {starting_epoch}; epochs count from 1")
        if max_epoch < starting_epoch:
            raise ValueError(
                f"there is nothing to do from epoch {starting_epoch} to max_epoch {max_epoch}"
            )
        self.data = placed(data)
        self.steps_per_epoch, self.max_epoch = steps_per_epoch, max_epoch
        self.epoch, self.step_in_epoch = starting_epoch, 0
        self.step = (starting_epoch - 1) * steps_per_epoch
        self.stopping = self.finished = self._epoch_done = False
        self.resumed_from, self.passed_over = None, ()
        self.trained_before, self.lost = {}, {}
        self._metrics = EpochMetrics()

    def _initialize(self, session_init: Any, resume_from: str | Path | None) -> None:
        """Give the variables their values, and a resumed run all that it had."""
        if resume_from is not None:
            if not isinstance(resume_from, str | PathLike):
                raise TypeError(f"resume_from is {described(resume_from)}; expected a path")
            resume(self, expanded(fspath(resume_from)))
            return
        SmartInit(session_init).init(self.session)
        if self._saves():
            refuse_unresumable(self)

    def _hold_folders(self, held: ExitStack) -> None:
        if self.processes.first:
            hold_folders(self.callbacks, self, held)

    def _saves(self) -> bool:
        return any(callback.turn >= BEST for callback in self.callbacks)

    def _start_callbacks(self, started: ExitStack) -> None:
        for callback in self._active():
            callback.start(self)
            started.callback(callback.stop, self)

    def _active(self) -> list[Callback]:
        """Return the callbacks that have something to do in this process."""
        return [c for c in self.callbacks if self.processes.first or not c.first_process_only]

    def _run(self, batches: Iterator[Any]) -> None:
        while self.epoch <= self.max_epoch and not self.stopping:
            self._run_steps(batches)
            if self.at_epoch_end:
                self._end_epoch()

    def _run_steps(self, batches: Iterator[Any]) -> None:
        """Train to the end of the epoch, or until a callback sets `stopping`."""
        if self.step_in_epoch == 0:
            self._metrics = EpochMetrics()
        train_step, add = step_of(self), self._metrics.add
        hooks = [c.after_step for c in self._active() if overrides(c, "after_step")]
        while not (self.at_epoch_end or self.stopping):
            metrics = train_step(next(batches))
            self.step += 1
            self.step_in_epoch += 1
            add(metrics)
            for after_step in hooks:
                after_step(self, metrics)

    def _end_epoch(self) -> None:
        self._call_model("after_epoch")
        self.stopping = mean_over(self.processes, self._metrics, self.stopping)
        for callback in self._active():
            if callback.turn >= BEST and not self._epoch_done:
                agree_on(self.processes, self._metrics)
                self._epoch_done = True  # what is saved from here on is past the epoch
            callback.after_epoch(self)
        self._epoch_done = False
        self.epoch += 1
        self.step_in_epoch = 0

    def state(self) -> dict[str, Any]:
        """Return all that a new process needs beside variables to take the next step as this one.

        For the savers at the end of an epoch, this is the beginning of the next.
        """
        done = self._epoch_done or self.step_in_epoch == 0
        place = place_in(self.data)
        return {
            "step": self.step,
            "epoch": self.epoch + self._epoch_done,
            "step_in_epoch": 0 if done else self.step_in_epoch,
            "steps_per_epoch": self.steps_per_epoch,
            **({"processes": self.processes.count} if self.processes.count > 1 else {}),
            "metrics": (EpochMetrics() if done else self._metrics).state(),
            "data": place.state() if place else None,
            "random": random_states(),
            "model": self._model_state(),
            "session": self.session.state(),
            "callbacks": {c.key: c.state() for c in self.callbacks if c.key},
            "also": {name: place.state() for name, place in self._beside.items()},
            **({"not_saved": dict(sorted(self.lost.items()))} if self.lost else {}),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned, but for the place in the data."""
        self.step, self.epoch = state["step"], state["epoch"]
        self.step_in_epoch = state["step_in_epoch"]
        self._metrics.load_state(state["metrics"])
        load_model: Callable[[Any], None] | None = getattr(self.model, "load_state", None)
        if load_model is not None:
            with taking_back_unless("model", self.accepts, "its state begins anew"):
                load_model(state["model"])
        for callback in self.callbacks:
            if callback.key in state["callbacks"]:
                with taking_back(callback.key):
                    callback.load_state(state["callbacks"][callback.key])
        for name in self._beside.keys() & state.get("also", {}).keys():
            with taking_back(name):
                self._beside[name].load_state(state["also"][name])
        with taking_back("random"):
            self._set_generators(state["random"], state["session"])

    def _model_state(self) -> dict[str, Any]:
        function: Callable[[], dict[str, Any]] | None = getattr(self.model, "state", None)
        return function() if function is not None else {}

    def _set_generators(self, python: Mapping[str, Any], session: Mapping[str, Any]) -> None:
        set_random_states(python)
        self.session.load_fitting(session, self.accepts)

    def _call_model(self, method: str) -> None:
        """Call a method that a model may have."""
        function: Callable[[], None] | None = getattr(self.model, method, None)
        if function is not None:
            function()


def check_trainable(model: Any) -> None:
    """Raise TypeError for what is no model for training."""
    if isinstance(getattr(model, "session", None), Session) and callable(
        getattr(model, "train_step", None)
    ):
        return
    taker = made_for(model)
    raise TypeError(
        f"{described(model)} cannot be trained: it needs a .session and a .train_step(batch); "
        + (f"ws.{taker}(...) makes a model for training of it" if taker else EXPECTED)
    )


EXPECTED = "expected a TorchModel, a KerasModel, a TFGraph, a TFModule or a JaxModel"


def for_a_first_start(session_init: Any, starting_epoch: int) -> tuple[str, ...]:
    """Return which of these arguments were given, which a resumed run does without."""
    given = {"session_init": session_init is not None, "starting_epoch": starting_epoch != 1}
    return tuple(name for name, is_given in given.items() if is_given)


def checked_steps(data: Iterable[Any], steps_per_epoch: int | None) -> int:
    """Return the steps of an epoch: as given, or one pass over *data*."""
    if isinstance(data, type) or not hasattr(data, "__iter__") | hasattr(data, "__getitem__"):
        raise TypeError(f"data is {described(data)}; expected batches, such as ws.Batches")
    if steps_per_epoch is None:
        try:
            steps_per_epoch = len(data)  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(
                f"the data, a {type(data).__qualname__}, has no length: give steps_per_epoch"
            ) from error
    if not isinstance(steps_per_epoch, int):
        raise TypeError(f"steps_per_epoch is {steps_per_epoch!r}; expected a whole number")
    if steps_per_epoch < 1:
        raise ValueError(f"an epoch has {steps_per_epoch} steps; expected 1 or more")
    return steps_per_epoch
