"""Where batches come from.

Data is any iterable of batches.  It can be resumed when it can say and regain its place: with
`state()`/`load_state()`, with `state_dict()`/`load_state_dict()` as torchdata's loaders have them,
or with `get_state()`/`set_state()`; or when its library is one of those in `sessions.data`.  The
loop it lives in:

    data.load_state(state)          # resumed runs only
    for batch in data: ...          # from that place to the end of the pass; then pass after pass
    data.state()                    # the next batch to train on, not the next to prefetch
"""

import logging
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import described
from ..sessions.data import data_for
from ..sessions.places import Part, check_pieces, checked_part, piece_of, refuse_other_data
from .run_state import random_states, set_random_states

log = logging.getLogger("warmstart")


class Batches:
    """Arrays cut into batches, in an order that depends on the seed and the pass alone.

    Each batch is a tuple of one array per array given.  Iterating goes on from the place it is at
    to the end of the pass; the next pass has another order.  Going to a place costs nothing.
    With *part*, (rank, count), this process gets its piece of every batch: *batch_size* is that of
    all processes together, and a place is the same for any number of them.
    """

    def __init__(
        self,
        arrays: "np.ndarray | Sequence[Any]",
        batch_size: int,
        shuffle: bool = True,
        *,
        seed: int = 0,
        drop_last: bool = False,
        part: Part | None = None,
    ) -> None:
        self.arrays = as_arrays(arrays)
        self.examples = equal_length(self.arrays)
        self.batch_size = whole("batch_size", batch_size)
        self.shuffle = shuffle
        self.seed = whole("seed", seed)
        self.drop_last = drop_last
        self.part = checked_part(part)
        self._pass = 0
        self._position = 0  # batches of this pass already handed out
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected 1 or more")
        if not len(self):
            raise ValueError(
                f"{self.examples} examples make no batch of {batch_size}"
                + (" when the last one is dropped" if drop_last else "")
            )
        check_pieces(self.examples, batch_size, drop_last, self.part)

    def __len__(self) -> int:
        """Return the batches of one pass."""
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        order = self._order()
        for index in range(self._position, len(self)):
            self._go_to(index + 1)
            chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
            own = chosen[piece_of(len(chosen), self.part)]
            yield tuple(array[own] for array in self.arrays)

    @property
    def shared(self) -> bool:
        """Whether other processes get other examples."""
        return self.part[1] > 1

    def state(self) -> dict[str, Any]:
        """Return the place, and what it is a place in."""
        return {"pass": self._pass, "position": self._position, **self._identity()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state` returned; raise ResumeError when it is one in other data."""
        refuse_other_data(self._identity(), state)
        self._pass, self._position = state["pass"], state["position"]

    def _identity(self) -> dict[str, Any]:
        names = ("examples", "batch_size", "shuffle", "seed", "drop_last")
        return {name: getattr(self, name) for name in names}

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.examples)
        return np.random.default_rng([self.seed, self._pass]).permutation(self.examples)

    def _go_to(self, position: int) -> None:
        """Make *position* the next batch; the end of a pass is the beginning of the next."""
        passes, self._position = divmod(position, len(self))
        self._pass += passes


def whole(what: str, number: Any) -> int:
    """Return *number*, which is *what*, as an int; TypeError for what is no whole number."""
    if not hasattr(number, "__index__"):
        raise TypeError(f"{what} is {described(number)}; expected a whole number")
    return operator.index(number)


def as_arrays(arrays: Any) -> tuple[np.ndarray, ...]:
    """Return one array or several as a tuple; a list of numbers is not an array here."""
    if isinstance(arrays, list | tuple):
        return tuple(np.asarray(array) for array in arrays)
    return (np.asarray(arrays),)


def equal_length(arrays: Sequence[np.ndarray]) -> int:
    """Return the number of examples that all *arrays* have."""
    shapes = [array.shape for array in arrays]
    if not arrays or any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"arrays of the shapes {shapes} do not have one first axis in common, the examples"
        )
    return int(shapes[0][0])


def endless(data: Iterable[Any]) -> Iterator[Any]:
    """Return the batches of *data*, pass after pass.

    The first pass is begun now, not at the first batch: a loader may draw random numbers then.
    """
    return _passes(data, iter(data))


def _passes(data: Iterable[Any], batches: Iterator[Any]) -> Iterator[Any]:
    empty = 0  # passes in a row; the first may be the empty rest of a resumed one
    while empty < 2:
        empty += 1
        for batch in batches:
            empty = 0
            yield batch
        ended, batches = batches, iter(data)
        if batches is ended:
            raise ValueError(
                "the data ended before the training: an iterator can be gone through only once; "
                "give a list, an object whose __iter__ begins anew, or fewer steps"
            )
    raise ValueError("the data has no batches")


#: What the two methods are called, here and elsewhere.
PLACES = (
    ("state", "load_state"),
    ("state_dict", "load_state_dict"),
    ("get_state", "set_state"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """The two methods by which data says and regains its place."""

    state: Callable[[], Any]
    load_state: Callable[[Any], Any]


def place_in(data: Any) -> Place | None:
    """Return how *data* says and regains its place, None when it cannot."""
    for names in PLACES:
        methods = [getattr(data, name, None) for name in names]
        if all(map(callable, methods)):
            return Place(*methods)  # type: ignore[arg-type]
    return None


def placed(data: Any) -> Any:
    """Return *data*, or what goes through it and says its place better than *data* itself."""
    found = data_for(data)
    return data if found is None else found


def warn_of_same(data: Any, processes: int) -> None:
    """Warn when each of several *processes* would train on all of *data*."""
    if processes > 1 and getattr(data, "shared", True) is False:
        log.warning(
            "each of the %d processes trains on the same batches; part=(rank, count) gives it its "
            "piece of each",
            processes,
        )


#: What accepts that the first batches of the pass are drawn again, from data that has no place.
REPLAY = "replay"


class Replayed:
    """Data without a place of its own, which goes to one by drawing what lies before it again.

    That is exact for data that begins each pass alike, or by the random numbers of Python and
    NumPy, and takes as long as drawing those batches does.
    """

    def __init__(self, data: Iterable[Any]) -> None:
        self.data = data
        self._position = 0  # batches of this pass already handed out
        self._random: dict[str, Any] | None = None  # as it was at the beginning of this pass

    def __len__(self) -> int:
        """Return the batches of one pass; TypeError where the data has no length."""
        return len(self.data)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        if self._random is not None:
            set_random_states(self._random)
        self._random = random_states()
        batches = iter(self.data)
        for _ in islice(batches, self._position):
            pass
        return self._rest(batches)

    def _rest(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._position += 1
            yield batch
        self._position, self._random = 0, None

    def state(self) -> dict[str, Any]:
        """Return the place."""
        return {"position": self._position, "random": self._random or random_states()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state` returned, when the data is next iterated over."""
        self._position, self._random = state["position"], state["random"]
