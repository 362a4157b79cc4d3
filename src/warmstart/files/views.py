"""A source as a command needs it: opened, under rules, counted while it is read."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..binary.ahead import reading_ahead
from ..errors import noting
from ..formats import files_of, locate, open_source
from ..restore.recipe import (
    Made,
    Recipe,
    Taken,
    first_name,
    specs_by_every_name,
    tensors_in,
    without_aliases,
)
from ..restore.rules import Seen, apply, fellows_of
from ..source import Index, Source, View, as_source, filtered
from ..spec import TensorSpec
from .remade import Remade

if TYPE_CHECKING:
    import numpy as np

#: What a function here reads from: a path, an open source (a session too), or arrays by name.
Input = str | Path | Source | Mapping[str, Any]

#: Told after each tensor how many bytes have been read, and how many there are in all.
Progress = Callable[[int, int], None]


@contextmanager
def opened(tensors: Input, *, verify: bool = True, **options: Any) -> Iterator[Source]:
    """Yield a source of *tensors*, closed at the end only if it was opened here.

    *options* are those of `open`; they mean nothing for what is open already.
    """
    if isinstance(tensors, str | Path):
        with open_source(tensors, verify=verify, **options) as source:
            yield Placed(source, f"while reading {tensors}")
    else:
        yield as_source(tensors)


def read_ahead(
    tensors: Input, source: Source, part: Source | None = None
) -> AbstractContextManager[None]:
    """Return a block in which the files of *tensors*, open as *source*, are read ahead.

    They are not for a small *part* of it, nor what is no file.
    """
    wanted = sum(spec.nbytes for spec in (part or source).specs.values())
    whole = sum(spec.nbytes for spec in source.specs.values())
    if not isinstance(tensors, str | Path) or 2 * wanted < whole:
        return nullcontext()
    return reading_ahead(files_of(*locate(tensors)))


def label(tensors: Input) -> str:
    """Return what *tensors* is called in a summary."""
    return str(tensors) if isinstance(tensors, str | Path) else type(tensors).__name__


def ruled(source: Source, rules: Any = ()) -> Remade:
    """Return *source* under *rules*; tied tensors stay tied under their new names."""
    return tied_view(source, asked_for(source, rules))


def asked_for(source: Source, rules: Any = ()) -> Mapping[str, Recipe]:
    """Return the names that *rules* make of those of *source*, each with what it is made of."""
    return without_old_places(apply(rules, seen_of(source)).origin, source)


def without_old_places(origin: Mapping[str, Recipe], source: Source) -> Mapping[str, Recipe]:
    """Return *origin* without the derived names of tensors that a rule has changed.

    They say where a tensor lies, or whose it is, and would be tensors of their own, as it was
    before.
    """
    changed = tensors_in(recipe for recipe in origin.values() if isinstance(recipe, Made))
    old = [n for n in source.derived if n in origin and source.aliases[n] in changed]
    gone = {name for name in old if origin[name] == Taken(name)}
    return {new: recipe for new, recipe in origin.items() if new not in gone}


def seen_of(source: Source) -> Seen:
    """Return what rules see of *source*: its tensors by all of their names."""
    return Seen(specs_by_every_name(source), source.aliases, slots_of(source), fellows_of(source))


def slots_of(source: Source) -> set[str]:
    """Return the names recorded as optimizer slots: they follow their variable through rules."""
    return {name for name, spec in source.specs.items() if spec.role == "slot"}


def tied_view(source: Source, origin: Mapping[str, Recipe]) -> Remade:
    """Return *source* with other names: new name -> recipe, whose names may be aliases.

    A tensor stands under the new name of its own name, or else of its first alias; its other
    aliases follow it.  So do those of what a recipe makes.
    """
    shown: dict[Recipe, str] = {}  # what a tensor is made of -> the new name it stands under
    tensors: dict[str, Recipe] = {}
    aliases = {}
    others = source.aliases
    for new, recipe in sorted(origin.items(), key=lambda item: first_name(item[1]) in others):
        tensor = without_aliases(recipe, others)
        if recipe == tensor or tensor not in shown:
            tensors[new] = tensor
            shown.setdefault(tensor, new)
        else:
            aliases[new] = shown[tensor]
    return Remade(source, tensors, aliases)


def selected(source: Source, keep: Callable[[TensorSpec], bool], *, run_state: bool) -> View:
    """Return the tensors of *source* that *keep* accepts, without its run state if so asked."""
    metadata = {k: v for k, v in source.metadata.items() if run_state or k != "run"}
    return filtered(source, keep, metadata=metadata)


class Wrapper(Source):
    """Another source; what is done at each read is left open."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._source.specs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._source.metadata

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._source.aliases

    @property
    def derived(self) -> Collection[str]:
        return self._source.derived

    def check(self, names: Iterable[str]) -> None:
        self._source.check(names)

    def faults(self) -> Iterable[str]:
        return self._source.faults()

    def reading(self) -> AbstractContextManager[None]:
        return self._source.reading()

    def read_order(self) -> Iterator[str]:
        return self._source.read_order()


class Placed(Wrapper):
    """Another source that says in every fault of a read where it lies."""

    def __init__(self, source: Source, place: str) -> None:
        super().__init__(source)
        self._place = place

    def check(self, names: Iterable[str]) -> None:
        with noting(self._place):
            self._source.check(names)

    def read(self, name: str) -> "np.ndarray":
        with noting(self._place):
            return self._source.read(name)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        with noting(self._place):
            return self._source.read_slice(name, index)


class Counted(Wrapper):
    """Another source that tells how much of it has been read."""

    def __init__(self, source: Source, progress: Progress) -> None:
        super().__init__(source)
        self._progress = progress
        self._done = 0
        self._total = sum(spec.nbytes for spec in source.specs.values())

    def read(self, name: str) -> "np.ndarray":
        array = self._source.read(name)
        self._count(array)
        return array

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        array = self._source.read_slice(name, index)
        self._count(array)
        return array

    def _count(self, array: "np.ndarray") -> None:
        self._done = min(self._done + array.nbytes, self._total)
        self._progress(self._done, self._total)


def counted(source: Source, progress: Progress | None) -> Source:
    """Return *source*, telling *progress* of what is read if there is one."""
    return source if progress is None else Counted(source, progress)
