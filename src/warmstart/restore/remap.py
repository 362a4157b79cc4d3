"""Rows put in another order, some left out and some new: what follows a vocabulary.

    old vocabulary   a b c          row 0 of the result is row 2, row 1 is new, row 2 is row 0
    new vocabulary   c x a          Places(0, [2, -1, 0], ...)

Rows may lie along any axis, and along several at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import CheckpointError, NoSuchTensor, RestoreMismatch, RuleError
from ..sessions.base import Session
from ..source import Index, Source
from ..spec import TensorSpec, shape_text, spec_of
from .fit import misfit
from .recipe import Made, Recipe, Step, made, spec_from, specs_by_every_name
from .steps import axis_of

if TYPE_CHECKING:
    import numpy as np


class Filling(ABC):
    """What new rows hold.  It is a frozen dataclass, so that recipes can be compared."""

    @abstractmethod
    def rows(self, spec: TensorSpec, index: Index) -> "np.ndarray | None":
        """Return the values of the rows at *index* of the result, which together are as *spec*.

        None is zeros.
        """

    def forget(self) -> None:  # noqa: B027  (most keep nothing)
        """Let go of what is kept from one `rows` to the next."""

    @abstractmethod
    def __str__(self) -> str:
        """Return where the values come from: "zeros"."""


@dataclass(frozen=True, slots=True)
class Zeros(Filling):
    """Zeros; of strings, empty ones."""

    def rows(self, spec: TensorSpec, index: Index) -> None:
        return None

    def __str__(self) -> str:
        return "zeros"


@dataclass(frozen=True, slots=True)
class Drawn(Filling):
    """What a function of a shape and a dtype makes, asked once for all new rows together.

    They are kept until they have been assigned: asked again it could fail, with half a model set.
    """

    initializer: Callable[..., Any]
    session: Session
    name: str  # of the variable
    kept: "dict[TensorSpec, np.ndarray]" = field(default_factory=dict, compare=False, repr=False)

    def rows(self, spec: TensorSpec, index: Index) -> "np.ndarray":
        if spec not in self.kept:
            self.kept[spec] = self.drawn(spec)
        return self.kept[spec]

    def forget(self) -> None:
        self.kept.clear()

    def drawn(self, spec: TensorSpec) -> "np.ndarray":
        """Return new rows as *spec*, or raise RestoreMismatch."""
        values = self.session.draw(self.initializer, spec.shape, spec.dtype)
        found = spec_of(self.name, values)
        if misfit(found, spec) is not None:
            raise RestoreMismatch(f"the new rows of {self.name!r} are {spec}; {self} gave {found}")
        return values

    def __str__(self) -> str:
        kind = type(self.initializer)
        return str(getattr(self.initializer, "__qualname__", kind.__qualname__))


@dataclass(frozen=True, slots=True)
class Own(Filling):
    """What a variable of the model has there; before it has a value, what it would begin with."""

    session: Session
    name: str

    def rows(self, spec: TensorSpec, index: Index) -> "np.ndarray":
        try:
            values = self.session.read(self.name)
        except CheckpointError:
            first = self.session.first_value(self.name)
            if first is None:
                raise
            values = first
        rows: np.ndarray = values[index]
        return rows

    def __str__(self) -> str:
        return "the model's own"


@dataclass(frozen=True, slots=True)
class First(Filling):
    """What a variable begins with, whatever it has now; zeros where the engine cannot tell."""

    session: Session
    name: str

    def rows(self, spec: TensorSpec, index: Index) -> "np.ndarray | None":
        try:
            values = self.session.first_value(self.name)
        except NoSuchTensor:  # it is still to be made
            return None
        return None if values is None else values[index]

    def __str__(self) -> str:
        return "what slots begin with"


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Which row along one axis of a tensor each row of the result is; -1 for a new one."""

    axis: int
    old: "np.ndarray"  # int64
    filling: Filling
    origin: str  # what decided: "old.txt -> new.txt"

    @property
    def n_new(self) -> int:
        """How many rows are new."""
        return int((self.old < 0).sum())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return (self.axis, self.old.tobytes(), self.filling, self.origin)


@dataclass(frozen=True, slots=True)
class Remap(Step):
    """Make each row, along one axis or several, of an old one or anew.

    Where a row and a column are new and differ in what they hold, the later axis decides.
    """

    places: tuple[Places, ...]
    of_model: bool = False  # whether axes are those of the model's variable, whatever the file has

    def spec(self, specs: Sequence[TensorSpec]) -> TensorSpec:
        (spec,) = specs
        shape = list(spec.shape)
        for places in self.places:
            axis = axis_of(self, places.axis, spec)
            needed = int(places.old.max(initial=-1))
            if needed >= spec.shape[axis]:
                raise RuleError(
                    f"{spec.name!r} is {shape_text(spec.shape)}, and place {needed} along axis "
                    f"{places.axis} is asked for by {places.origin}: the old vocabulary is longer "
                    "than what was trained; old_vocab_size says how much of it was"
                )
            shape[axis] = len(places.old)
        return spec._replace(shape=tuple(shape))

    def value(self, arrays: "Sequence[np.ndarray]") -> "np.ndarray":
        (array,) = arrays
        for places in self.places:
            array = taken(array, places)
        for places in self.places:
            fill(array, places)
        return array

    def inverse(self, specs: Sequence[TensorSpec]) -> tuple[Recipe, ...] | None:
        back = [turned(places, specs[0].shape[places.axis]) for places in self.places]
        known = tuple(places for places in back if places is not None)
        return (made(Remap(known), ""),) if len(known) == len(back) else None

    def forget(self) -> None:
        for places in self.places:
            places.filling.forget()

    def __str__(self) -> str:
        return ", ".join(map(said, self.places))


def is_of_model(recipe: Recipe) -> TypeGuard[Made]:
    """Return whether *recipe* ends with rows put where a variable of the model has them."""
    return isinstance(recipe, Made) and isinstance(recipe.step, Remap) and recipe.step.of_model


def refuse_unfit(recipes: Iterable[Recipe], source: Source) -> None:
    """Raise RuleError naming every tensor of *source* that is too small for its old vocabulary."""
    doubtful = [recipe for recipe in recipes if is_of_model(recipe)]
    specs = specs_by_every_name(source) if doubtful else {}
    faults = []
    for recipe in doubtful:
        try:
            spec_from(recipe, specs)
        except RuleError as error:
            faults.append(str(error))
    if faults:
        raise RuleError("\n".join(faults))


def said(places: Places) -> str:
    """Return what becomes of one axis, in words."""
    n_new = places.n_new
    new = f", {n_new} new ({places.filling})" if n_new else ""
    kept = len(places.old) - n_new
    return f"vocabulary {places.origin} along axis {places.axis}: {kept} kept{new}"


def taken(array: "np.ndarray", places: Places) -> "np.ndarray":
    """Return a new array with the old rows in their places; what the new ones hold is open."""
    import numpy as np

    axis = places.axis % array.ndim
    if array.shape[axis]:
        return array.take(places.old, axis)  # -1 is the last row, filled afterwards
    return np.zeros((*array.shape[:axis], len(places.old), *array.shape[axis + 1 :]), array.dtype)


def fill(array: "np.ndarray", places: Places) -> None:
    """Give the new rows of *array*, which was made here, their values."""
    import numpy as np

    (new,) = np.nonzero(places.old < 0)
    if not new.size:
        return
    axis = places.axis % array.ndim
    index: Index = (*[slice(None)] * axis, new)
    shape = (*array.shape[:axis], len(new), *array.shape[axis + 1 :])
    spec = spec_of(places.origin, array)._replace(shape=shape)
    values = places.filling.rows(spec, index)
    array[index] = (b"" if array.dtype == object else 0) if values is None else values


def turned(places: Places, size: int) -> Places | None:
    """Return the way back to the *size* old rows, or None where one of them is lost."""
    import numpy as np

    back = np.full(size, -1, np.int64)
    kept = places.old >= 0
    back[places.old[kept]] = np.nonzero(kept)[0]
    if (back < 0).any():
        return None
    return Places(places.axis, back, places.filling, f"{places.origin}, turned round")
