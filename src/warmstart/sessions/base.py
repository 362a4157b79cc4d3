"""A live model: a source whose variables can also be assigned.

    session = session_for(model, optimizer=optimizer)
    plan    = ...                                  # decided from session.specs alone
    session.assign((name, array) for ...)          # all checked before, one tensor at a time
    session.initialize(names)                      # those that still have no value

Training asks it besides for what a run needs and no variable holds (`state`), for freezing, and
for inference.  It refuses to know files, rules and the training loop.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable
from weakref import WeakKeyDictionary, WeakSet

from ..boxes import Box, box_text
from ..errors import CheckpointError, RestoreMismatch, ResumeError
from ..layer import Layer
from ..processes import ALONE, Processes
from ..source import Index, Source
from ..spec import TensorSpec, numpy_dtype, spec_of

if TYPE_CHECKING:
    import numpy as np


log = logging.getLogger("warmstart")


class Freezing(Protocol):
    """Variables that an engine holds still until they are thawed."""

    names: tuple[str, ...]  # those asked for and the statistics that belong to them
    regions: Mapping[str, Index]  # of those that are held in part, where

    def thaw(self) -> None:
        """Let the variables be trained again, with the optimizer state they had."""


class Watcher(Protocol):
    """Whoever must know that variables were assigned on purpose."""

    def assigned(self, names: Collection[str]) -> None:
        """Take note that *names* have new values."""


@runtime_checkable
class Holder(Protocol):
    """A watcher that holds variables still."""

    def holding(self) -> Collection[str]:
        """Return the variables that it holds at this moment."""


T = TypeVar("T", bound=tuple[Any, ...])

#: The live object of a model -> those who watch it.  Several sessions may stand on one model.
WATCHERS: WeakKeyDictionary[Any, WeakSet[Watcher]] = WeakKeyDictionary()


def refusing(name: str) -> bool:
    """Accept no loss: *name* must be restored."""
    return False


class Session(Source):
    """A model with its optimizer, live.  `specs` states a role for every variable.

    `read` may return a view of the live value: whoever keeps it beyond the next step copies it.
    """

    #: The engine's name in the table of sessions: "torch", "tf".
    engine: str

    #: Whose names and axis orders its layers have, one of `layer.CONVENTIONS`; None: not known.
    convention: str | None = None

    #: What turned out in training to be in no checkpoint, by name, with the reason.
    noted: Mapping[str, str] = MappingProxyType({})

    #: Told of that before the step that depends on it is taken; it may raise.  None: it is warned.
    on_unresumable: Callable[[Mapping[str, str]], None] | None = None

    #: Whether training makes a new model instead of changing the one there is, as JAX's trees do.
    immutable: bool = False

    #: What may have moved a frozen variable, and so is to be looked for.
    movers: str = (
        "something set them other than through the session, or moves them beside the optimizer"
    )

    @property
    def model(self) -> Any:
        """The model as it is now: what was given, or the new one where models are immutable."""
        return self.anchor

    @property
    def synonyms(self) -> Mapping[str, str]:
        """What files of the framework call variables: that name -> the one in `specs`.

        They are matched like names, and are written nowhere.
        """
        return {}

    @property
    @abstractmethod
    def anchor(self) -> Any:
        """The live object that stands for the model, whichever session looks at it."""

    @abstractmethod
    def _assign(self, values: "Iterable[tuple[str, np.ndarray]]") -> None:
        """Set variables.  Dtypes and shapes are those of `specs` or `creatable`, checked before."""

    def assign(self, values: "Iterable[tuple[str, np.ndarray]]") -> None:
        """Set variables, one tensor in memory at a time; whoever watches the model is told."""
        names: list[str] = []
        try:
            self._assign(recorded(values, names))
        finally:
            self.tell(names)

    @property
    def processes(self) -> Processes:
        """The processes that train this model together, each with a session on its part."""
        return ALONE

    def assign_pieces(self, values: "Iterable[tuple[str, Box, np.ndarray]]") -> None:
        """Set pieces of variables that are in `pieces`, each given with where it stands."""
        names: list[str] = []
        try:
            self._assign_pieces(recorded(values, names))
        finally:
            self.tell(names)

    def _assign_pieces(self, values: "Iterable[tuple[str, Box, np.ndarray]]") -> None:
        """Set pieces of variables; an engine without any is not asked."""
        raise NotImplementedError

    def tell(self, names: Collection[str]) -> None:
        """Tell whoever watches the model that *names* were given new values on purpose."""
        watchers = tuple(WATCHERS.get(self.anchor, ())) if names else ()
        if watchers:
            aliases = self.aliases
            canonical = list(dict.fromkeys(aliases.get(name, name) for name in names))
            for watcher in watchers:
                watcher.assigned(canonical)

    def watch(self, watcher: Watcher) -> None:
        """Tell *watcher* of every later assignment to this model, from any session on it."""
        WATCHERS.setdefault(self.anchor, WeakSet()).add(watcher)

    def frozen(self) -> set[str]:
        """Return the variables of this model that are frozen at this moment, wholly or in part."""
        watchers = tuple(WATCHERS.get(self.anchor, ()))
        return {name for each in watchers if isinstance(each, Holder) for name in each.holding()}

    def creatable(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, TensorSpec]:
        """Return those of *specs* that do not exist yet but would by being assigned.

        Optimizer slots before the first step are such: an optimizer makes them when it needs them.
        A name that is not the variable's own leads to the spec that bears it.
        """
        return {}

    def optimized(self) -> "Collection[str] | None":
        """Return the variables that the optimizer trains; None where only its slots tell."""
        return None

    def check_initial(self, names: Collection[str]) -> None:
        """Raise RestoreError naming those of *names* that `initialize` could not give a value."""

    def initialize(self, names: Collection[str]) -> list[str]:
        """Give those of *names* that have no value yet their initial one; return which."""
        return []

    def first_value(self, name: str) -> "np.ndarray | None":
        """Return what the initializer of *name* gives; nothing is assigned.

        None where the engine cannot tell, as most cannot once a variable has been made.
        """
        return None

    def draw(
        self, initializer: Callable[..., Any], shape: tuple[int, ...], dtype: str
    ) -> "np.ndarray":
        """Return what *initializer*, a function of a shape and a dtype of NumPy, makes."""
        import numpy as np

        return np.asarray(initializer(shape, numpy_dtype(dtype)))

    def names_of(self, variables: Iterable[Any]) -> list[str | None]:
        """Return the name here of each of *variables*, objects of the engine; None if it has none.

        A name may be an alias; it need not be that of a variable of this model.
        """
        names = (getattr(variable, "name", None) for variable in variables)
        return [name if isinstance(name, str) else None for name in names]

    def state(self) -> dict[str, Any]:
        """Return what the next step depends on beside variables: random states, schedules.

        A tree of dicts with string keys; leaves are what JSON holds, or arrays.
        """
        return {}

    def misfits(self, state: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what of a *state* does not fit here, by name, with the reason."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` returned; raise ResumeError naming what does not fit."""

    def load_fitting(self, state: Mapping[str, Any], accepts: Callable[[str], bool]) -> None:
        """Take back what fits of *state*; raise like `load_state` unless the rest is accepted."""
        self.load_state(state)

    def unresumable(self) -> Mapping[str, str]:
        """Return what no checkpoint can bring back, by name, with the reason."""
        return {}

    def note(self, found: Mapping[str, str]) -> None:
        """Take note of what a step that is about to be taken uses and no checkpoint can hold."""
        new = {name: why for name, why in found.items() if name not in self.noted}
        if not new:
            return
        self.noted = MappingProxyType({**self.noted, **new})
        if self.on_unresumable is not None:
            self.on_unresumable(new)
        else:
            lines = "".join(f"\n  {name}: {why}" for name, why in new.items())
            log.warning("a resumed run will not end with the same bits:%s", lines)

    def layers(self) -> Iterable[Layer]:
        """Return the layers whose kind is known, so that they can be carried between frameworks."""
        return ()

    @abstractmethod
    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> Freezing:
        """Hold *names* still, bit for bit, whatever the training loop does.

        Those that are keys of *regions* are held only where the index says (`np.s_[:1000]`), and
        train elsewhere.  Statistics of a frozen normalisation layer are held too, unless
        *train_statistics*.
        Raise FreezeError, changing nothing, when a train op already built would move one.
        """

    def unproved(self, freezing: Freezing) -> str | None:
        """Return why nothing can be known yet of what became of *freezing*; None where it can."""
        return None

    @abstractmethod
    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> "Callable[..., list[np.ndarray]]":
        """Return inference as a function of arrays, one per input, in evaluation mode."""

    def save_graph(self, folder: Path) -> Path | None:
        """Write the graph into *folder* where the engine has one that can be kept."""
        return None


def recorded(values: Iterable[T], names: list[str]) -> Iterator[T]:
    """Yield *values*, tuples that begin with a name, adding each name to *names* as it passes."""
    for value in values:
        names.append(value[0])
        yield value


def refuse_misfits(faults: Mapping[str, str], accepts: Callable[[str], bool]) -> None:
    """Raise ResumeError naming all *faults* of a run state that are not accepted."""
    refused = [f"  {name}: {why}" for name, why in faults.items() if not accepts(name)]
    if refused:
        rows = ["the run state of the checkpoint does not fit this model", *refused]
        raise ResumeError("\n".join(rows))


def refuse_misfit(name: str, array: "np.ndarray", expected: TensorSpec) -> None:
    """Raise RestoreMismatch unless *array* has the dtype and the shape that *name* has."""
    found = spec_of(name, array)
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        raise RestoreMismatch(f"{name!r} is {expected}; it cannot take {found}")


def not_whole(name: str) -> CheckpointError:
    """Return the error for all of *name*, of which this process has only pieces."""
    return CheckpointError(
        f"{name!r} is in several processes, and only part of it in this one: read_slice gives "
        "that, and saving the model saves all of it"
    )


def not_here(name: str, box: Box, own: Iterable[Box]) -> CheckpointError:
    """Return the error for *box* of *name*, of which this process has the pieces *own*."""
    return CheckpointError(
        f"{name!r} is in several processes: {box_text(box)} was asked for, and this one has "
        f"{', '.join(map(box_text, own))}"
    )
