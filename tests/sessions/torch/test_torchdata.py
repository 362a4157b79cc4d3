"""torchdata's loader in the training loop, with what it asks of datasets that have a state."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from warmstart.sessions.torch.loader import TorchData
from warmstart.testing.data import DataContract
from warmstart.train.data import place_in, placed

from .test_loader import Augmented

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")


class TestIndices(DataContract):
    """Its own state would lose the random numbers of the workers."""

    batches = 7

    def make(self) -> Any:
        return placed(StatefulDataLoader(Augmented(), 3, shuffle=True, num_workers=2))


class Stream(IterableDataset[torch.Tensor]):
    """Numbers that know how far they have been counted, also at the end."""

    def __init__(self) -> None:
        self.next = torch.zeros((), dtype=torch.int64)

    def __iter__(self) -> Iterator[torch.Tensor]:
        while self.next < 14:
            self.next = self.next + 1
            yield self.next
        self.next = torch.zeros((), dtype=torch.int64)

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class TestAStream(DataContract):
    def make(self) -> Any:
        return placed(StatefulDataLoader(Stream(), 3))


class TestAStreamByWorkers(DataContract):
    batches = 7

    def make(self) -> Any:
        return placed(StatefulDataLoader(Stream(), 3, num_workers=1))


def test_a_plain_loader_of_a_stream_has_no_place() -> None:
    assert place_in(placed(DataLoader(Stream(), 3))) is None


def test_a_dataset_of_indices_that_has_a_state_is_asked_by_torchdata() -> None:
    class Stateful(Augmented):
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    assert isinstance(placed(StatefulDataLoader(Stateful(), 3)), StatefulDataLoader)
    with pytest.raises(TypeError, match="its dataset has a state, which torchdata's"):
        TorchData(DataLoader(Stateful(), 3))
