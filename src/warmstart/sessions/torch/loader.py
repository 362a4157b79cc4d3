"""A PyTorch `DataLoader` that can say and regain its place.

    data = TorchData(DataLoader(dataset, 32, shuffle=True, num_workers=4))
    for batch in data: ...                       # from the place it is at to the end of the pass
    data.state()                                 # the next batch to train on, not to prefetch

Batches depend on the seed, the pass and their number alone: their order (order.py), and the random
numbers with which they are loaded (dice.py), in whichever worker that is.  So a place is two
numbers, and going to it loads nothing.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
    get_worker_info,
)

from ..places import Part, check_pieces, checked_part, piece_of, refuse_other_data
from .dice import GLOBAL, drawing, generators_in, seed_all
from .kept import changed, kept_by, put_back
from .order import WORKERS, generator_for, order_of, samplers_of

#: What `given_seeds` found before a loader was taken over; another may be made of it later.
SEEDS: "WeakKeyDictionary[DataLoader[Any], list[int]]" = WeakKeyDictionary()


def data_for(data: Any) -> "TorchData | None":
    """Return *data* as what has a place; None unless it is a DataLoader that can have one."""
    if isinstance(data, DataLoader) and why_not(data) is None:
        return TorchData(data)
    return None


def reason(data: Any) -> str | None:
    """Return why *data*, if it is a DataLoader, can have no place."""
    return why_not(data) if isinstance(data, DataLoader) else None


def why_not(loader: "DataLoader[Any]") -> str | None:
    """Return why *loader* can have no place, None when it can."""
    if isinstance(loader.dataset, IterableDataset):
        return "an IterableDataset has no indices; torchdata's StatefulDataLoader asks it itself"
    if type(loader).__iter__ is not DataLoader.__iter__ and not is_of_torchdata(loader):
        return f"{type(loader).__qualname__} has an __iter__ of its own"
    if hasattr(loader.dataset, "state_dict"):
        return "its dataset has a state, which torchdata's StatefulDataLoader asks for"
    if not getattr(loader, "in_order", True):
        return "with in_order=False batches come as the workers happen to be done"
    return None


def is_of_torchdata(loader: "DataLoader[Any]") -> bool:
    """Return whether *loader* is a StatefulDataLoader.

    It knows its place, but not the random numbers of its workers.
    """
    return type(loader).__module__ == "torchdata.stateful_dataloader.stateful_dataloader"


class TorchData:
    """The batches of a DataLoader, in an order that depends on the seed and the pass alone.

    *loader* is one of a map-style dataset, with any sampler; it is taken over, and its generators
    are no longer drawn from.  The *seed* is that of its generator, or of PyTorch's, unless given.
    With *part*, (rank, count), this process gets its piece of every batch, so that the batches of
    *loader* are those of all processes together.
    """

    def __init__(
        self, loader: "DataLoader[Any]", *, seed: int | None = None, part: Part | None = None
    ) -> None:
        if not isinstance(loader, DataLoader):
            raise TypeError(f"TorchData takes a DataLoader, not a {type(loader).__qualname__}")
        if reason := why_not(loader):
            raise TypeError(f"this DataLoader cannot say its place: {reason}")
        self.loader = loader
        self.part = checked_part(part)
        self._seeds = [seed] if seed is not None else given_seeds(loader)
        self._check_part()
        self._at = Places(loader, self.part, (self._seeds or [torch.initial_seed()])[0])
        self._loading = loading_whole_batches(loader, self._at)
        self._made = kept_by(samplers_of(loader))

    @property
    def seed(self) -> int:
        """What the order, and the random numbers, of every pass depend on."""
        return self._at.seed

    @property
    def shared(self) -> bool:
        """Whether other processes get other examples."""
        return self.part[1] > 1 or getattr(samplers_of(self.loader)[-1], "num_replicas", 1) > 1

    def __len__(self) -> int:
        """Return the batches of one pass."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self._loading.generator = generator_for(self.seed, self._at.passes, WORKERS)
        return self._rest(iter(self._loading))

    def _rest(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            self._at.position += 1
            yield batch
        self._at.passes, self._at.position = self._at.passes + 1, 0

    def state(self) -> dict[str, Any]:
        """Return the place, and what it is a place in."""
        place = {"pass": self._at.passes, "position": self._at.position, "seed": self.seed}
        kept = changed(self._made, self._at.kept())
        return {**place, **self._identity(), **({"kept": kept} if kept else {})}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state` returned; raise ResumeError when it is one in other data."""
        found = self._identity()
        refuse_other_data(found | ({"seed": self.seed} if self._seeds else {}), state)
        self._at.passes, self._at.position = state["pass"], state["position"]
        self._at.seed = state["seed"]
        put_back(samplers_of(self.loader), state.get("kept", {}))

    def _identity(self) -> dict[str, Any]:
        samplers = samplers_of(self.loader)
        processes = getattr(samplers[-1], "num_replicas", 1)
        size = getattr(samplers[0], "batch_size", None)
        return {
            "examples": length(self.loader.dataset),
            "batch_size": size and size * processes,
            "drop_last": getattr(samplers[0], "drop_last", None),
            "samplers": [type(each).__qualname__ for each in samplers],
        }

    def _check_part(self) -> None:
        if self.part[1] == 1:
            return
        if self.loader.batch_sampler is None:
            raise ValueError("a DataLoader that makes no batches has no pieces for part=")
        size, examples = self.loader.batch_size, length(samplers_of(self.loader)[-1])
        if size is not None and examples is not None:
            check_pieces(examples, size, self.loader.drop_last, self.part)


class Places:
    """The place of the next batch, and a sampler of what is left of its pass.

    What is left is the random numbers of each batch and its examples.  It knows no TorchData: in a
    circle of references workers would be told to end only when they next ask, 5 seconds later.
    """

    def __init__(self, loader: "DataLoader[Any]", part: Part, seed: int) -> None:
        self._loader, self._part = loader, part
        self.seed = seed
        self.passes = 0
        self.position = 0  # batches of this pass already handed out
        self._begun: tuple[int, dict[str, Any]] = (-1, {})  # a pass, and what samplers kept before

    def kept(self) -> dict[str, Any]:
        """Return what the samplers keep, before the pass that the place is in the middle of."""
        passes, kept = self._begun
        if passes == self.passes and not self._at_end():
            return kept
        return kept_by(samplers_of(self._loader))

    def _at_end(self) -> bool:
        total = length(self._loader)
        return total is not None and self.position >= total

    def __iter__(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        seed, passes, begin = self.seed, self.passes, self.position
        if self._at_end():  # the samplers have gone through this pass already
            return
        self._begun = passes, kept_by(samplers_of(self._loader))
        rank = rank_of(self._part, self._loader)
        for number, indices in enumerate(order_of(self._loader, seed, passes, begin), begin):
            chosen = indices[piece_of(len(indices), self._part)] if self._part[1] > 1 else indices
            yield (seed, passes, number, rank), chosen


def loading_whole_batches(loader: "DataLoader[Any]", places: Places) -> "DataLoader[Any]":
    """Return a loader like *loader* that loads what *places* say, batch by batch."""
    loading = copy.copy(loader)
    if is_of_torchdata(loader):
        loading.__class__ = DataLoader
    vars(loading).update(
        dataset=Loading(loader),
        sampler=places,
        batch_sampler=None,
        batch_size=None,
        drop_last=False,
        collate_fn=as_it_is,
        worker_init_fn=partial(begin_worker, loader.worker_init_fn),
        _iterator=None,
    )
    return loading


class Loading:
    """A dataset of whole batches, each loaded with random numbers of its own."""

    def __init__(self, loader: "DataLoader[Any]") -> None:
        self.dataset: Any = loader.dataset
        self.collate = loader.collate_fn
        self.batched = loader.batch_sampler is not None
        self._generators: list[Any] | None = None  # of the dataset; until they are looked for
        self._draws_nothing = self.collate is default_collate and is_plain(self.dataset)

    def __getitem__(self, place: tuple[tuple[int, ...], Any]) -> Any:
        numbers, indices = place
        if self._generators is None:
            self._generators = generators_in([self.dataset, self.collate])
        if self._draws_nothing:
            return self.collate(self._examples(indices))
        if get_worker_info() is not None:  # a process in which nobody else draws
            seed_all((*GLOBAL, *self._generators), numbers)
            return self.collate(self._examples(indices))
        with drawing(numbers, self._generators):
            return self.collate(self._examples(indices))

    def _examples(self, indices: Any) -> Any:
        if not self.batched:
            return self.dataset[indices]
        several = getattr(self.dataset, "__getitems__", None)
        return several(indices) if several else [self.dataset[index] for index in indices]


def is_plain(dataset: Any) -> bool:
    """Return whether *dataset* only looks examples up."""
    if type(dataset) is Subset:
        return is_plain(dataset.dataset)
    return type(dataset) is TensorDataset


def begin_worker(given: Callable[[int], None] | None, worker: int) -> None:
    """Begin a worker as the user's function *given* does, which sees the user's dataset."""
    info = get_worker_info()
    object.__setattr__(info, "dataset", info.dataset.dataset)  # type: ignore[union-attr]
    if given is not None:
        given(worker)


def as_it_is(batch: Any) -> Any:
    """Return *batch*, which is one already."""
    return batch


def given_seeds(loader: "DataLoader[Any]") -> list[int]:
    """Return the seeds of the generators that *loader* and its samplers were given."""
    if loader not in SEEDS:
        # The samplers of a StatefulDataLoader make themselves a generator that nobody gave.
        holders = [loader] if is_of_torchdata(loader) else [loader, *samplers_of(loader)]
        generators = [getattr(each, "generator", None) for each in holders]
        given = [each.initial_seed() for each in generators if isinstance(each, torch.Generator)]
        SEEDS[loader] = given
    return SEEDS[loader]


def rank_of(part: Part, loader: "DataLoader[Any]") -> int:
    """Return which of several processes this is, for random numbers that differ between them."""
    if part[1] > 1:
        return part[0]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return int(getattr(samplers_of(loader)[-1], "rank", 0))


def length(sized: Any) -> int | None:
    """Return the length of *sized*, None when it has none."""
    try:
        return len(sized)
    except (TypeError, NotImplementedError):
        return None
