"""Grain in the training loop."""

from typing import Any

import grain
import numpy as np
import pytest
from grain.samplers import IndexSampler
from grain.sharding import NoSharding

from warmstart.testing.data import DataContract
from warmstart.train.data import Batches, place_in, placed

FEW = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)


class Noise(grain.transforms.RandomMap):
    def random_map(self, element: Any, rng: np.random.Generator) -> Any:
        return element + rng.random()


def dataset() -> Any:
    return grain.MapDataset.source(np.arange(14.0)).seed(3).shuffle().random_map(Noise())


class Source:
    """Numbers; grain compares sources by how they are shown."""

    def __len__(self) -> int:
        return 14

    def __getitem__(self, index: int) -> np.int64:
        return np.int64(index)

    def __repr__(self) -> str:
        return "Source()"


class TestMapDataset(DataContract):
    def make(self) -> Any:
        return placed(dataset().batch(3))


class TestRepeated(DataContract):
    batches = 7  # 14 / 3 a pass

    def make(self) -> Any:
        return placed(dataset().repeat().batch(3).to_iter_dataset(FEW))


class TestAnIterator(DataContract):
    batches = 5

    def make(self) -> Any:
        return placed(iter(dataset().batch(3).to_iter_dataset(FEW)))


class TestDataLoader(DataContract):
    def make(self) -> Any:
        sampler = IndexSampler(14, shard_options=NoSharding(), shuffle=True, num_epochs=1, seed=2)
        operations = [Noise(), grain.transforms.Batch(3)]
        return placed(
            grain.DataLoader(data_source=Source(), sampler=sampler, operations=operations)
        )


def test_what_the_length_of_a_pass_is() -> None:
    assert len(placed(dataset().batch(3))) == 5
    with pytest.raises(TypeError, match="has no len"):
        len(placed(dataset().batch(3).to_iter_dataset(FEW)))


def test_other_data_are_left_to_others() -> None:
    batches = Batches(np.arange(3), 1)
    assert placed(batches) is batches
    assert place_in(placed([1])) is None
