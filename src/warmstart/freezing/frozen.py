"""Variables held still by name, and the proof that they were.

    frozen = freeze(session, "encoder/*")      from now on no step moves them, whoever takes it
    frozen = freeze(session, {"emb": np.s_[:30_000]})          the same for some rows of a variable
    ...                                        train
    frozen.verify()                            raises, naming every variable that moved
    frozen.thaw()

The hashes are taken at the freeze and compared by `verify`.  A value that is set on purpose, by a
restore or a `session.assign`, is taken note of and becomes the one to be kept.  How an engine holds
a variable still is its session's business.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import CheckpointError, FreezeError, described, number_of
from ..names import Pattern, as_patterns, grouped, idle, selected
from ..restore.rules import meant_text
from ..sessions import session_for
from ..sessions.base import Freezing, Session
from ..source import Index, Source
from ..spec import TensorSpec

if TYPE_CHECKING:
    import numpy as np

#: What is to stay still: wherever a pattern matches, or as a mapping says.
Patterns = Pattern | Iterable[Pattern] | Mapping[Pattern, Index]


def freeze(
    session_or_model: Any,
    patterns: Patterns,
    *,
    train_statistics: bool = False,
) -> "Frozen":
    """Hold every variable that matches *patterns* still, bit for bit, until it is thawed.

    A mapping says where: `{"embedding.weight": np.s_[:30_000]}` holds the first 30,000 rows and
    lets the others train; `...` means the whole variable.

    No gradient, weight decay or leftover momentum moves them, in any training loop.  Statistics of
    a frozen normalisation layer are held as well, unless *train_statistics*.  Raise FreezeError,
    with nothing frozen, for a pattern that matches no variable or where the engine cannot promise.
    """
    session = session_for(session_or_model)
    refuse_lone(session, session_or_model)
    refuse_objects(session, patterns)
    where = places(session, patterns)
    regions = {name: index for name, index in where.items() if index is not ...}
    options: dict[str, Any] = {"regions": regions} if regions else {}
    return Frozen(session, session.freeze([*where], train_statistics=train_statistics, **options))


def refuse_objects(session: Session, patterns: Any) -> None:
    """Raise TypeError for variables of *session* themselves, where their names are expected."""
    given = list(patterns) if isinstance(patterns, list | tuple | dict) else [patterns]
    objects = [each for each in given if not isinstance(each, str | re.Pattern)]
    if not objects:
        return
    names = [name for name in session.names_of(objects) if name in session.specs]
    if names:
        raise TypeError(
            f"{described(objects[0])} is no pattern: variables are frozen by name, here "
            f"{', '.join(map(repr, names))}"
        )


def refuse_lone(session: Session, given: Any) -> None:
    """Raise for a model that training replaces, *given* without the session that would see it."""
    if session.immutable and session is not given and not hasattr(given, "session"):
        raise FreezeError(
            "training makes new trees, so nothing can be proved of this one: freeze a JaxModel; "
            "or, in a loop of your own, make session = ws.session_for(tree), freeze that, train "
            "with ws.frozen_transform(optimizer, frozen), and set session.tree to what it made"
        )


SHOWN = 8  # names, in the repr of a Frozen


class Frozen:
    """Variables that are held still.  As a context it thaws them at the end of the block."""

    def __init__(self, session: Session, freezing: Freezing) -> None:
        self._session = session
        self._freezing = freezing
        self._thawed = False
        self._hashes = self._hashed(self.names)
        session.watch(self)

    def __repr__(self) -> str:
        """Say how many variables are held, and which: names that differ by a part as one."""
        shown = grouped(self.names)
        more = f", and {len(shown) - SHOWN} names more" if len(shown) > SHOWN else ""
        parts = f"; in part: {', '.join(grouped(self.regions))}" if self.regions else ""
        state = "thawed" if self._thawed else "held still"
        count = number_of(len(self.names), "variable")
        return f"<Frozen: {count} {state}: {', '.join(shown[:SHOWN])}{more}{parts}>"

    @property
    def names(self) -> tuple[str, ...]:
        """What is held still: what was asked for, and the statistics that belong to it."""
        return self._freezing.names

    @property
    def regions(self) -> Mapping[str, Index]:
        """Those of `names` that are held in part: name -> where."""
        return self._freezing.regions

    def hashes(self) -> dict[str, str | None]:
        """Return the hash that each variable had when frozen; None where it had no value."""
        return dict(self._hashes)

    def verify(self) -> dict[str, str]:
        """Return the hash of every frozen variable, or raise FreezeError naming all that moved."""
        if self._thawed:
            raise FreezeError("these variables were thawed, so nothing holds them any more")
        if why := self._session.unproved(self._freezing):
            raise FreezeError(why)
        now = self._hashed(self.names)
        unknown = [name for name, before in self._hashes.items() if before is None]
        if unknown:
            raise FreezeError(
                f"{named(unknown)} had no value when frozen, so there is nothing to compare with; "
                "restore or initialize the model through its session before freezing"
            )
        self._refuse_lost([name for name, value in now.items() if value is None])
        moved = [name for name, before in self._hashes.items() if now[name] != before]
        if moved:
            raise FreezeError(
                f"{len(moved)} of {len(now)} frozen variables moved: {named(moved)}; "
                f"{self._session.movers}"
            )
        return {name: value for name, value in now.items() if value is not None}

    def _refuse_lost(self, names: Collection[str]) -> None:
        """Raise for variables, called *names*, that had a value and have none to be read now."""
        for name in names:
            try:
                self._session.read(name)
            except CheckpointError as error:
                raise FreezeError(
                    f"{len(names)} of {len(self.names)} frozen variables cannot be read any more: "
                    f"{named(names)}; {error.args[0]}"
                ) from error

    def thaw(self) -> None:
        """Let the variables be trained again, with the optimizer state they had."""
        if not self._thawed:
            self._freezing.thaw()
            self._thawed = True

    def assigned(self, names: Collection[str]) -> None:
        """Take the values of *names*, just set on purpose, as the ones to be kept."""
        if not self._thawed:
            self._hashes |= self._hashed(name for name in names if name in self._hashes)

    def holding(self) -> tuple[str, ...]:
        """Return `names` until they are thawed, and then none."""
        return () if self._thawed else self.names

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.thaw()

    def _hashed(self, names: Iterable[str]) -> dict[str, str | None]:
        with self._session.reading():
            return {name: self._hash(name) for name in names}

    def _hash(self, name: str) -> str | None:
        try:
            return hash_at(self._session, name, self.regions.get(name, ...))
        except CheckpointError:  # a variable without a value yet; `verify` says so
            return None


def places(source: Source, patterns: Patterns) -> dict[str, Index]:
    """Return what *patterns* mean in *source*: name -> index, `...` for all of a variable."""
    if isinstance(patterns, Mapping):
        return frozen_regions(source, patterns)
    return dict.fromkeys(frozen_names(source, as_patterns(patterns)), ...)


def frozen_names(source: Source, patterns: Collection[Pattern]) -> list[str]:
    """Return the variables that *patterns* match by any of their names; slots are none.

    A pattern that matches no name may mean what a live model's framework calls a variable.
    Raise FreezeError naming every pattern that matches nothing.
    """
    specs = source.specs
    names = {name: name for name, spec in specs.items() if spec.role not in ("slot", "run")}
    names |= {alias: name for alias, name in source.aliases.items() if name in names}
    if not patterns:
        raise FreezeError("nothing to freeze: no pattern is given")
    synonyms = source.synonyms if isinstance(source, Session) else {}
    lesser = {other: name for other, name in synonyms.items() if name in names.values()}
    foreign = idle(names, patterns)
    refuse_idle(idle(lesser, foreign), names, "variables")
    found = [names[name] for name in selected(names, patterns)]
    found += [lesser[name] for name in selected(lesser, foreign)]
    return list(dict.fromkeys(found))


def refuse_idle(patterns: Iterable[Pattern], names: Collection[str], what: str) -> None:
    """Raise FreezeError naming the *patterns* that match none of *names*, which are *what*."""
    rows = [f"  {text or repr(text)}{meant_text(text, names)}" for text in texts(patterns)]
    if rows:
        raise FreezeError("\n".join([f"these patterns match none of {len(names)} {what}:", *rows]))


def texts(patterns: Iterable[Pattern]) -> list[str]:
    """Return *patterns* as text."""
    return [each if isinstance(each, str) else each.pattern for each in patterns]


def frozen_regions(source: Source, patterns: Mapping[Pattern, Index]) -> dict[str, Index]:
    """Return where each variable that *patterns* match is to be held; `...` is everywhere.

    Raise FreezeError naming every variable that two patterns mean, or that an index does not fit.
    """
    specs = source.specs
    found: dict[str, Index] = {}
    faults = []
    for pattern, index in patterns.items():
        for name in frozen_names(source, [pattern]):
            if name in found:
                faults.append(f"  {name}: more than one pattern means it")
            found[name] = index
            faults += region_faults(specs[name], index)
    if faults:
        raise FreezeError("\n".join(["these parts of variables cannot be frozen:", *faults]))
    return found


def region_faults(spec: TensorSpec, index: Index) -> list[str]:
    """Return what is wrong with *index* as a part of the variable *spec*, in a line or none."""
    import numpy as np

    empty = np.broadcast_to(np.zeros(()), spec.shape)  # of that shape, and of no size
    try:
        part = empty[index]
    except (IndexError, TypeError, ValueError) as error:
        return [f"  {spec.name} {spec}: {error}"]
    if not part.size:
        return [f"  {spec.name} {spec}: {index!r} is no part of it"]
    beyond = sides_beyond(spec.shape, index)
    return [f"  {spec.name} {spec}: {', '.join(beyond)}"] if beyond else []


def sides_beyond(shape: Sequence[int], index: Index) -> list[str]:
    """Return in words each slice of *index* that goes beyond *shape*, which it fits otherwise.

    NumPy would cut it off in silence, and rows that were to be trained would be held.

    >>> sides_beyond((10, 4), (slice(100), slice(4))), sides_beyond((10, 4), (..., slice(-5, None)))
    ([':100 goes beyond the 10 along axis 0'], ['-5: goes beyond the 4 along axis 1'])
    """
    import numpy as np

    parts = index if isinstance(index, tuple) else (index,)
    axes = [np.ndim(p) if np.asarray(p).dtype == bool else p is not None for p in parts]
    n_left = len(shape) - sum(n for n, p in zip(axes, parts, strict=True) if p is not ...)
    faults, axis = [], 0
    for part, n_axes in zip(parts, axes, strict=True):
        if isinstance(part, slice) and any(
            abs(side) > shape[axis] for side in (part.start, part.stop) if side is not None
        ):
            faults.append(f"{slice_text(part)} goes beyond the {shape[axis]} along axis {axis}")
        axis += n_left if part is ... else n_axes
    return faults


def slice_text(part: slice) -> str:
    """Return a slice as it is written between brackets.

    >>> slice_text(slice(None, 5)), slice_text(slice(1, None, 2))
    (':5', '1::2')
    """
    sides = ["" if side is None else str(side) for side in (part.start, part.stop)]
    return ":".join(sides if part.step is None else [*sides, str(part.step)])


def named(names: Iterable[str]) -> str:
    """Return *names* for a message, quoted."""
    return ", ".join(map(repr, names))


def hash_at(source: Source, name: str, index: Index) -> str:
    """Return the hash of the part *index* of the tensor *name* in *source*."""
    boxes = source.pieces.get(name)
    if boxes is None:
        return hash_of(source.read(name)[index])
    # What is elsewhere is proved there.
    return "".join(hash_of(source.read_slice(name, box)) for box in boxes)


def hash_of(array: "np.ndarray") -> str:
    """Return the hash of the dtype, the shape and every bit of *array*."""
    import numpy as np

    digest = hashlib.sha256(f"{array.dtype} {array.shape} ".encode())
    if array.dtype == object:
        digest.update(repr(array.tolist()).encode())
    else:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
