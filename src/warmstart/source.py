"""Anything with named tensors that can be read, and views of it.

    with source:
        for name, spec in source.specs.items():     # no values yet
            array = source.read(name)

A source refuses to know what a tensor is for a model: it only says what it holds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from .errors import NoSuchTensor
from .spec import TensorSpec, spec_of

if TYPE_CHECKING:
    import numpy as np

    from .boxes import Box

#: What can stand between the brackets of an array: integers, slices, `...`, or a tuple of them.
Index = Any


class PartRead(NamedTuple):
    """A run of the bytes of a stored tensor, and the CRC-32C of both."""

    tensor: str  # which one, in words that no other has
    begin: int
    size: int
    crc: int
    total: int  # bytes of the tensor
    expected: int  # its checksum as it was written


class Source(ABC):
    """Named tensors that can be read one by one.

    `specs` may be lazy: looking one name up must not cost a scan of all of them.  Arrays may be
    read-only views of a mapped file; whoever wants to write copies.
    """

    @property
    @abstractmethod
    def specs(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name."""

    @abstractmethod
    def read(self, name: str) -> "np.ndarray":
        """Return the whole tensor, in native byte order and C order.  Raise NoSuchTensor."""

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        """Return `read(name)[index]`; a format that can reads only the bytes it needs."""
        import numpy as np

        return np.asarray(self.read(name)[index])

    def read_piece(self, name: str, box: "Box") -> "np.ndarray":
        """Return `read_slice(name, box)`, for one process of several: the rest is others' to read.

        So a format that can reads nothing beyond it, not even to check a checksum of more.
        """
        return self.read_slice(name, box)

    def parts_read(self) -> "Sequence[PartRead]":
        """Return what `read_piece` has read of stored tensors, whose checksums are of all of them.

        What one process cannot check, several can that have read all of a tensor between them.
        """
        return ()

    def read_all(self) -> "dict[str, np.ndarray]":
        """Return every tensor; a format may do this faster than one by one."""
        return {name: self.read(name) for name in self.specs}

    def read_each(self, names: Iterable[str]) -> "Iterator[np.ndarray]":
        """Yield the tensors *names*, in that order; a format may read the next one meanwhile."""
        return map(self.read, names)

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says besides its tensors."""
        return {}

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other names of tied tensors: alias -> the name in `specs`.  `read` takes either."""
        return {}

    @property
    def derived(self) -> Collection[str]:
        """Those of `aliases` that are no tied tensor's but say where a tensor lies or whose it is.

        They share its fate: a rule that drops one of its names drops them all.
        """
        return ()

    @property
    def stored(self) -> Mapping[str, str]:
        """How tensors lie in the file where dtype and shape do not tell, in the format's own words.

        A quantised tensor is read as bytes, and its listing says "Q4_K (4096, 4096)" beside them.
        """
        return {}

    @property
    def pieces(self) -> "Mapping[str, Sequence[Box]]":
        """Tensors of which this process has only pieces, among several processes: name -> where.

        `read_slice` gives a piece; whole they are in no process, and cannot be read.  Where there
        are more processes than rows, a piece may be empty.
        """
        return {}

    @property
    def no_arrays(self) -> Mapping[str, str]:
        """What the file has under names of tensors and is no array: name -> its kind.

        The state of an iterator of tf.data is a "variant".  Whoever asks has looked at all `specs`.
        """
        return {}

    def check(self, names: Iterable[str]) -> None:  # noqa: B027  (most find out when they open)
        """Raise CorruptCheckpoint for those of *names* that cannot be where the file says.

        No value is read.  Whoever makes room for tensors asks first.
        """

    def unclaimed(self) -> "Iterable[str] | None":
        """Return each run of bytes in the files that nothing accounts for, in words.

        None where the format leaves room that says nothing, so that it would not be a fault.
        """
        return None

    def faults(self) -> Iterable[str]:
        """Return what is wrong with the file beside its tensors, each of which can be read."""
        return ()

    def reading(self) -> AbstractContextManager[None]:
        """Return a block in which many tensors are read and none is changed.

        A source to which each read alone is dear may fetch several at once there.
        """
        return nullcontext()

    def read_order(self) -> Iterator[str]:
        """Yield every name in the order that reads the file from front to back."""
        yield from self.specs

    def close(self) -> None:  # noqa: B027  (most sources have nothing to close)
        """Give the file back; arrays already read stay valid."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ListedSource(Source):
    """A source that knows all its tensors once it is open.

    Whoever derives from it sets `_specs`, and of `_aliases`, `_derived` and `_metadata` what there
    is.
    """

    _specs: Mapping[str, TensorSpec]
    _aliases: Mapping[str, str] = MappingProxyType({})
    _derived: Collection[str] = frozenset()
    _metadata: Mapping[str, str] = MappingProxyType({})

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._aliases

    @property
    def derived(self) -> Collection[str]:
        return self._derived

    def _own(self, name: str) -> str:
        """Return the name in `specs` of the tensor *name*, an alias or not.  Raise NoSuchTensor."""
        own = self._aliases.get(name, name)
        if own not in self._specs:
            raise no_such_tensor(name, self._specs)
        return own


class Variables(dict[str, Any]):
    """Arrays by name, found under their other names as well, which are not listed or counted.

    >>> variables = Variables({"embedding": 1}, {"logits": "embedding"})
    >>> variables["logits"], "logits" in variables, list(variables)
    (1, True, ['embedding'])
    """

    def __init__(
        self, arrays: Mapping[str, Any], others: Mapping[str, str], derived: Collection[str] = ()
    ) -> None:
        """Hold *arrays*; *others* is other name -> name, *derived* those that are no ties."""
        super().__init__(arrays)
        self._others = dict(others)
        self._derived = frozenset(derived)

    @property
    def aliases(self) -> dict[str, str]:
        """Other names of what is still there: other name -> name."""
        found = {other: self._listed(other) for other in self._others}
        return {other: name for other, name in found.items() if other != name and name in self}

    @property
    def derived(self) -> frozenset[str]:
        """Those of `aliases` that are no tied tensor's."""
        return self._derived & self.aliases.keys()

    def __missing__(self, name: str) -> Any:
        if self._listed(name) == name:
            raise KeyError(name)
        return self[self._listed(name)]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(self._listed(name))

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(self._listed(name), value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(self._listed(name))

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(self._listed(name), default)

    def _listed(self, name: Any) -> Any:
        """Return the name that *name* is listed under, itself unless it is another name."""
        if super().__contains__(name) or not super().__contains__(self._others.get(name)):
            return name
        return self._others[name]


class DictSource(ListedSource):
    """Arrays in memory; those of `load_vars` keep their other names."""

    def __init__(
        self,
        arrays: "Mapping[str, Any]",
        *,
        roles: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        import numpy as np

        roles = roles or {}
        wrong = [repr(name) for name in arrays if not isinstance(name, str)]
        if wrong:
            raise TypeError(f"names of tensors are strings; found {', '.join(wrong)}")
        self._arrays = {
            name: value if type(value) is np.ndarray else as_array(name, value)
            for name, value in arrays.items()
        }
        self._specs = {n: spec_of(n, a, roles.get(n)) for n, a in self._arrays.items()}
        self._metadata = dict(metadata or {})
        known = arrays.aliases if isinstance(arrays, Variables) else {}
        self._aliases = known if aliases is None else dict(aliases)
        self._derived = arrays.derived if isinstance(arrays, Variables) else frozenset()

    @property
    def derived(self) -> Collection[str]:
        return self._derived & self._aliases.keys()

    def read(self, name: str) -> "np.ndarray":
        return self._arrays[self._own(name)]


def as_array(name: str, value: Any) -> "np.ndarray":
    """Return *value* as an array, or raise that what *name* has (a tensor with a graph) is none."""
    import numpy as np

    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"the value of {name!r} is no array: {error}") from error


class View(ListedSource):
    """Another source with some of its tensors left out or under other names."""

    def __init__(
        self,
        source: Source,
        origin: Mapping[str, str],
        *,
        aliases: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Show of *source* what *origin* names: new name -> name in *source*.

        Without *aliases* (new alias -> new name) those are kept whose tensor kept its name;
        without *metadata* the source's own is shown.
        """
        self._source = source
        self._origin = dict(origin)
        specs = dict(source.specs.items())  # one pass: a lazy mapping finds single names slowly
        self._specs = {new: specs[old].renamed(new) for new, old in self._origin.items()}
        kept = {old: new for new, old in self._origin.items() if new == old}
        inherited = {a: kept[s] for a, s in source.aliases.items() if s in kept}
        self._aliases = inherited if aliases is None else dict(aliases)
        self._stated = metadata

    @property
    def origin(self) -> Mapping[str, str]:
        """Return what is shown: name here -> name in the other source."""
        return self._origin

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._source.metadata if self._stated is None else self._stated

    @property
    def stored(self) -> Mapping[str, str]:
        found = self._source.stored
        return {new: found[old] for new, old in self._origin.items() if old in found}

    @property
    def derived(self) -> Collection[str]:
        known, others = set(self._source.derived), self._source.aliases
        return {a for a in known & self._aliases.keys() if self._aliases[a] == others[a]}

    def read(self, name: str) -> "np.ndarray":
        return self._source.read(self._old(name))

    def read_slice(self, name: str, index: Index) -> "np.ndarray":
        return self._source.read_slice(self._old(name), index)

    def read_piece(self, name: str, box: "Box") -> "np.ndarray":
        return self._source.read_piece(self._old(name), box)

    def parts_read(self) -> Sequence[PartRead]:
        return self._source.parts_read()

    def check(self, names: Iterable[str]) -> None:
        self._source.check(map(self._old, names))

    def reading(self) -> AbstractContextManager[None]:
        return self._source.reading()

    def read_order(self) -> Iterator[str]:
        news: dict[str, list[str]] = {}
        for new, old in self._origin.items():
            news.setdefault(old, []).append(new)
        for old in self._source.read_order():
            yield from news.get(old, ())

    def close(self) -> None:
        self._source.close()

    def _old(self, name: str) -> str:
        return self._origin[self._own(name)]


def filtered(
    source: Source,
    keep: Callable[[TensorSpec], bool],
    *,
    metadata: Mapping[str, str] | None = None,
) -> View:
    """Return the tensors of *source* whose spec passes *keep*; with its metadata, or *metadata*."""
    origin = {name: name for name, spec in source.specs.items() if keep(spec)}
    return View(source, origin, metadata=metadata)


def as_source(tensors: "Source | Mapping[str, Any]") -> Source:
    """Return *tensors* as a source; a source passes through unchanged."""
    return tensors if isinstance(tensors, Source) else DictSource(tensors)


def no_such_tensor(name: str, specs: Mapping[str, object]) -> NoSuchTensor:
    """Return the error for a *name* that is not in *specs*, with the nearest names there are."""
    from difflib import get_close_matches
    from itertools import islice

    near = get_close_matches(name, islice(specs, 2000), n=3)
    hint = f"; near it: {', '.join(map(repr, near))}" if near else ""
    return NoSuchTensor(f"there is no tensor {name!r} among the {len(specs)}{hint}")
