"""Grain's loaders and datasets, whose iterators know their place.

Each pass is an iterator of its own.  Its state is that of the next batch to train on, whatever its
workers have prefetched; with another number of workers grain refuses it.  A pass has the same order
each time unless the dataset is repeated: `dataset.shuffle(seed=0).repeat()` shuffles anew.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def data_for(data: Any) -> "GrainData | None":
    """Return *data* as what has a place; None unless it is of grain, and no iterator."""
    import grain

    kinds = (grain.DataLoader, grain.MapDataset, grain.IterDataset)
    return GrainData(data) if isinstance(data, kinds) else None


class GrainData:
    """The batches of a loader or a dataset of grain, pass after pass."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self._pass = 0
        self._iterator: Any = None  # of this pass, once it is begun

    def __len__(self) -> int:
        """Return the batches of one pass; TypeError where grain does not know."""
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return self._rest(self._begun())

    def _rest(self, batches: Iterator[Any]) -> Iterator[Any]:
        yield from batches
        self._pass, self._iterator = self._pass + 1, None

    def state(self) -> dict[str, Any]:
        """Return the place."""
        return {"pass": self._pass, "iterator": self._begun().get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state` returned; grain raises ValueError for one in other data."""
        self._pass, self._iterator = state["pass"], None
        self._begun().set_state(state["iterator"])

    def _begun(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(self.data)
        return self._iterator
