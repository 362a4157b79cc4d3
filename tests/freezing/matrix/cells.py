"""One cell of the matrix: a tiny model frozen in some way, trained 100 steps, looked at bit by bit.

    embedding (8 rows) -> backbone, perhaps with batch norm -> head

The backbone is frozen as a whole; where *rows* is true, so are the first rows of the embedding.
What is frozen must keep every bit; what is not, each row of the embedding included, must change.
An engine is an `Engine`, in a module of its own.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

import warmstart as ws

STEPS = 100
#: Steps before the freezing, where momentum is to exist.
WARM_UP = 3
HELD_ROWS = np.s_[:5]

OPTIMIZERS = ("SGD", "Adam", "AdamW", "Adafactor")
WAYS = (
    "freeze, before the first step",
    "freeze, with momentum",
    "freeze_variables(skip_collection=True)",
    "ScaleGradient 0",
)
BEFORE, AFTER, SKIPPED, SCALED = WAYS


@dataclass(frozen=True, slots=True)
class Names:
    """What the variables of the model are called in an engine."""

    embedding: str
    backbone: tuple[str, ...]  # with the scale and the shift of batch norm, if it is there
    statistics: tuple[str, ...]
    head: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model with a common recipe for freezing its backbone."""

    apply: Callable[[], None]  # after some steps
    train: Callable[[int], None]
    read: Callable[[], Mapping[str, np.ndarray]]  # copies of all variables


class Engine(ABC):
    """How the model is built and trained in one engine."""

    name: ClassVar[str]
    #: What stands for an optimizer that the engine does not have.
    instead: ClassVar[Mapping[str, str]] = {}
    #: Ways that the engine cannot offer, with the reason.
    cannot: ClassVar[Mapping[str, str]] = {}
    recipes: ClassVar[Sequence[str]]

    @abstractmethod
    def names(self, batch_norm: bool) -> Names:
        """Return the names of the variables."""

    @abstractmethod
    def build(
        self,
        optimizer: str,
        batch_norm: bool,
        backbone: AbstractContextManager[None],
        gradprocs: Sequence[Any],
    ) -> Any:
        """Return a new model, its *backbone* made in that context.

        All of it decays: by the optimizer where that can, or by a penalty on every variable.
        """

    @abstractmethod
    def recipe(self, recipe: str, optimizer: str) -> Recipe:
        """Return a new model with batch norm, to be frozen by one of the common *recipes*."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one cell."""

    engine: str
    optimizer: str
    called: str  # the optimizer, or what stands for it in the engine
    way: str
    batch_norm: bool
    rows: bool
    moved: tuple[str, ...] = ()  # although frozen
    stood: tuple[str, ...] = ()  # although not frozen
    reason: str = ""  # why it cannot be run


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of a common recipe: whether the backbone's weights and statistics stayed."""

    engine: str
    recipe: str
    optimizer: str
    weights_stay: bool
    statistics_stay: bool


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches without end; each has every row of the embedding."""
    generator = np.random.default_rng(0)
    made = [
        (
            generator.permutation(np.arange(16) % 8).astype(np.int32),
            generator.standard_normal((16, 2)).astype(np.float32),
        )
        for _ in range(4)
    ]
    while True:
        yield from made


def run(engine: Engine) -> Iterator[dict[str, Any]]:
    """Run all cells of *engine* and all recipes; yield what came of each."""
    for optimizer, way, batch_norm, rows in product(OPTIMIZERS, WAYS, (False, True), (False, True)):
        yield {"cell": asdict(run_cell(engine, optimizer, way, batch_norm, rows))}
    for recipe, optimizer in product(engine.recipes, OPTIMIZERS):
        yield {"followed": asdict(follow(engine, recipe, optimizer))}


def run_cell(engine: Engine, optimizer: str, way: str, batch_norm: bool, rows: bool) -> Cell:
    """Freeze in one *way*, train, and see what moved."""
    called = engine.instead.get(optimizer, optimizer)
    cell = (engine.name, optimizer, called, way, batch_norm, rows)
    if way in engine.cannot:
        return Cell(*cell, reason=engine.cannot[way])
    names = engine.names(batch_norm)
    skipping = ws.freeze_variables(stop_gradient=False, skip_collection=True)
    scaling = ws.ScaleGradient(("|".join(map(re.escape, names.backbone)), 0), verbose=False)
    model = engine.build(
        optimizer,
        batch_norm,
        skipping if way == SKIPPED else nullcontext(),
        [scaling] if way == SCALED else [],
    )
    model.session.initialize(list(model.session.specs))
    source = batches()
    train(model, source, 0 if way == BEFORE else WARM_UP)
    frozen = [ws.freeze(model, names.backbone)] if way in (BEFORE, AFTER) else []
    frozen += [ws.freeze(model, {names.embedding: HELD_ROWS})] if rows else []
    before = copied(model.session, names)
    train(model, source, STEPS)
    after = copied(model.session, names)
    for each in frozen:
        each.verify()
    held = dict.fromkeys(names.backbone, ...)
    held |= {name: ... for name in names.statistics if way in (BEFORE, AFTER)}
    held |= {names.embedding: HELD_ROWS} if rows else {}
    moved = (
        n for n, where in held.items() if before[n][where].tobytes() != after[n][where].tobytes()
    )
    stood = (n for n in before if not changed_elsewhere(before[n], after[n], held.get(n)))
    return Cell(*cell, tuple(moved), tuple(stood))


def follow(engine: Engine, recipe: str, optimizer: str) -> Followed:
    """Follow a common *recipe* once momentum exists, train, and see what moved."""
    made = engine.recipe(recipe, optimizer)
    names = engine.names(batch_norm=True)
    made.train(WARM_UP)
    made.apply()
    before = made.read()
    made.train(STEPS)
    after = made.read()
    assert all((before[name] != after[name]).any() for name in names.head)
    weights, statistics = (
        all(same_bits(before[name], after[name]) for name in each)
        for each in (names.backbone, names.statistics)
    )
    return Followed(engine.name, recipe, optimizer, weights, statistics)


def train(model: Any, source: Iterator[Any], steps: int) -> None:
    """Take *steps* with *model*."""
    for _ in range(steps):
        model.train_step(next(source))


def copied(session: Any, names: Names) -> dict[str, np.ndarray]:
    """Return copies of all that may move."""
    wanted = (names.embedding, *names.backbone, *names.statistics, *names.head)
    return {name: np.array(session.read(name)) for name in wanted}


def all_of(model: Any) -> dict[str, np.ndarray]:
    """Return copies of all variables of a live *model*."""
    session = ws.session_for(model)
    return {name: np.array(session.read(name)) for name in session.specs}


def same_bits(before: np.ndarray, after: np.ndarray) -> bool:
    """Return whether two arrays are the same bit for bit."""
    return before.tobytes() == after.tobytes()


def changed_elsewhere(before: np.ndarray, after: np.ndarray, held: Any) -> bool:
    """Return whether there is a finite change in every row outside of *held*, or nothing there."""
    if not np.isfinite(after.astype(np.float64)).all():
        return False
    free = np.ones(before.shape, bool)
    if held is not None:
        free[held] = False
    rows = np.atleast_1d(free).reshape(len(np.atleast_1d(free)), -1).any(1)
    moved = np.atleast_1d((before != after) & free).reshape(len(rows), -1).any(1)
    return bool(moved[rows].all())
