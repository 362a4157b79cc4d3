"""Another source under new names, some of whose tensors are made of others by recipes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..errors import noting
from ..restore.recipe import Recipe, Taken, first_name, names_in, spec_from, tensors_in, value_from
from ..source import Index, ListedSource, Source

if TYPE_CHECKING:
    import numpy as np


class Remade(ListedSource):
    """What *origin* asks of a source: new name -> recipe, in which tensors have their own names.

    In memory is what one recipe takes and makes.
    """

    def __init__(
        self, source: Source, origin: Mapping[str, Recipe], aliases: Mapping[str, str]
    ) -> None:
        specs = dict(source.specs.items())  # one pass: a lazy mapping finds single names slowly
        self._source = source
        self._origin = dict(origin)
        self._specs = {new: spec_from(r, specs).renamed(new) for new, r in self._origin.items()}
        self._aliases = dict(aliases)

    @property
    def tensors(self) -> set[str]:
        """The tensors of the other source that are shown, or go into one that is."""
        return tensors_in(self._origin.values())

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._source.metadata

    @property
    def stored(self) -> Mapping[str, str]:
        found, taken = self._source.stored, self._taken()
        return {new: found[old] for new, old in taken.items() if old in found}

    @property
    def derived(self) -> Collection[str]:
        known, others = set(self._source.derived), self._source.aliases
        shown = {a: self._origin[self._aliases[a]] for a in known & self._aliases.keys()}
        return {alias for alias, recipe in shown.items() if recipe == Taken(others[alias])}

    def read(self, name: str) -> "np.ndarray":
        import numpy as np

        recipe = self._origin[self._own(name)]
        with noting(f"while making {name!r}"):
            return np.asarray(value_from(recipe, self._source.read), order="C")

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        recipe = self._origin[self._own(name)]
        if isinstance(recipe, Taken):
            return self._source.read_slice(recipe.name, index)
        return super().read_slice(name, index)

    def check(self, names: Iterable[str]) -> None:
        recipes = (self._origin[self._own(name)] for name in names)
        self._source.check(old for recipe in recipes for old in names_in(recipe))

    def reading(self) -> AbstractContextManager[None]:
        return self._source.reading()

    def read_order(self) -> Iterator[str]:
        news: dict[str, list[str]] = {}
        for new, recipe in self._origin.items():
            news.setdefault(first_name(recipe), []).append(new)
        for old in self._source.read_order():
            yield from news.get(old, ())

    def close(self) -> None:
        self._source.close()

    def _taken(self) -> dict[str, str]:
        """Return the tensors that are shown as they are: new name -> name."""
        origin = self._origin.items()
        return {new: recipe.name for new, recipe in origin if isinstance(recipe, Taken)}
