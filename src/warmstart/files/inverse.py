"""Rules taken back on a file: what they dropped is put back from the original.

with applied("mine.toml", inverse=True, original="base.npz") as (rules, dropped):
    Joined(ruled(source, rules), dropped)               dropped is a view of the original
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import NameConflict
from ..names import without_output
from ..restore.grammar import parse
from ..restore.inverting import inverted, way_back
from ..source import Index, Source, View
from ..spec import TensorSpec
from .options import FOR_ALL
from .views import Input, Wrapper, opened

if TYPE_CHECKING:
    import numpy as np


@contextmanager
def applied(
    rules: Any, *, inverse: bool = False, original: Input | None = None, **options: Any
) -> Iterator[tuple[Any, Source | None]]:
    """Yield the rules to apply to a file, *rules* or their inverse, and what is to be put back.

    That is what *rules* drop of the *original*, opened with *options*; None if it is nothing.
    Raise RuleError naming every rule that cannot be taken back, and ValueError for arguments of
    which one means nothing without another.
    """
    if original is not None and not inverse:
        raise ValueError("original= is for taking rules back, with inverse=True")
    parsed = parse(rules)
    if inverse and not parsed:
        raise ValueError("inverse=True takes rules back, and there are none")
    if original is None:
        yield inverted(parsed) if inverse else parsed, None
        return
    with opened(original, **{name: options[name] for name in options.keys() & FOR_ALL}) as source:
        specs = dict(source.specs.items())
        way = way_back(parsed, specs)
        dropped = {without_output(name): name for name in specs if name in way.dropped}
        yield way.rules, View(source, dropped) if dropped else None


def joined(source: Source, other: Source | None) -> Source:
    """Return *source* with the tensors of the *other* one, if there is one."""
    return source if other is None else Joined(source, other)


class Joined(Wrapper):
    """A source with the tensors of another one behind its own."""

    def __init__(self, source: Source, other: Source) -> None:
        """Raise NameConflict naming every tensor that both have."""
        super().__init__(source)
        self._other = other
        own, theirs = dict(source.specs.items()), dict(other.specs.items())
        if twice := sorted(own.keys() & theirs.keys()):
            lines = [f"  {name}" for name in twice]
            head = "these are there, and dropped by the rules that are taken back:"
            raise NameConflict("\n".join([head, *lines]))
        self._specs = own | theirs
        self._theirs = theirs.keys() | other.aliases.keys()

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def aliases(self) -> Mapping[str, str]:
        return {**self._other.aliases, **self._source.aliases}

    @property
    def derived(self) -> Collection[str]:
        return {*self._other.derived, *self._source.derived}

    def check(self, names: Iterable[str]) -> None:
        names = list(names)
        self._source.check(name for name in names if name not in self._theirs)
        self._other.check(name for name in names if name in self._theirs)

    def read(self, name: str) -> "np.ndarray":
        return self._of(name).read(name)

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        return self._of(name).read_slice(name, index)

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._source.reading(), self._other.reading():
            yield

    def read_order(self) -> Iterator[str]:
        yield from self._source.read_order()
        yield from self._other.read_order()

    def _of(self, name: str) -> Source:
        return self._other if name in self._theirs else self._source
