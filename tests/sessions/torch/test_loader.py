"""A DataLoader in the training loop: one order, whoever loads it and wherever it begins."""

import random
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

from warmstart.errors import ResumeError
from warmstart.sessions.torch.dice import generators_in
from warmstart.sessions.torch.loader import TorchData
from warmstart.testing.data import DataContract, same
from warmstart.train.data import endless, place_in, placed


class Augmented(Dataset[Any]):
    """Examples with noise of every generator that there is, one of the dataset's own as well."""

    def __init__(self, examples: int = 14) -> None:
        self.examples = examples
        self.transform = {"noise": np.random.default_rng(5).standard_normal}
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, index: int) -> Any:
        self.loaded.append(index)
        noise = [random.random(), np.random.random(), self.transform["noise"]()]
        return torch.tensor([float(index), *noise, torch.rand(()).item()], dtype=torch.float64)


class Jumbled:
    """A sampler of batches that draws from every global generator, as it goes."""

    def __iter__(self) -> Iterator[list[int]]:
        left = list(range(14))
        random.shuffle(left)
        while left:
            size = int(np.random.randint(1, 5)) + int(torch.randint(2, ()))
            yield left[:size]
            del left[:size]


class Mindful:
    """A sampler whose order depends on the passes before, and on weights that it is given."""

    def __init__(self) -> None:
        self.order = list(range(14))
        self.weights = torch.ones(14)
        self.passes = 0

    def __len__(self) -> int:
        return 14

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        random.shuffle(self.order)
        yield from self.order[self.passes :]
        yield from torch.multinomial(self.weights, self.passes).tolist()


class TestLoader(DataContract):
    def make(self) -> Any:
        return placed(DataLoader(Augmented(), 3, shuffle=True))


class TestWorkers(DataContract):
    batches = 7  # 5 a pass

    def make(self) -> Any:
        return placed(DataLoader(Augmented(), 3, shuffle=True, num_workers=2, prefetch_factor=2))


class TestPersistentWorkers(DataContract):
    batches = 7

    def make(self) -> Any:
        return placed(
            DataLoader(Augmented(), 3, shuffle=True, num_workers=1, persistent_workers=True)
        )


class TestASamplerOfBatches(DataContract):
    def make(self) -> Any:
        return placed(DataLoader(Augmented(), batch_sampler=Jumbled()))  # type: ignore[arg-type]


class TestWeightedSampling(DataContract):
    def make(self) -> Any:
        sampler = WeightedRandomSampler(torch.arange(14.0).tolist(), 10)
        return placed(DataLoader(Augmented(), 3, sampler=sampler, drop_last=True))


class TestWithoutBatches(DataContract):
    def make(self) -> Any:
        return placed(
            DataLoader(Augmented(4), batch_size=None, sampler=SubsetRandomSampler([1, 3]))
        )


class TestASamplerWithMemory(DataContract):
    def make(self) -> Any:
        return placed(DataLoader(Augmented(), 3, sampler=Mindful()))


class TestASamplerWithMemoryAskedAhead(DataContract):
    def make(self) -> Any:
        return placed(DataLoader(Augmented(), 3, sampler=Mindful(), num_workers=1))


class TestNestedSamplers(DataContract):
    def make(self) -> Any:
        batches = BatchSampler(SubsetRandomSampler(range(9)), 2, drop_last=False)
        return placed(DataLoader(TensorDataset(torch.arange(9)), batch_sampler=batches))


def passes(loader: Any, batches: int = 10, **more: Any) -> list[Any]:
    return list(islice(endless(TorchData(loader, **more)), batches))


def indices(batches: list[Any]) -> list[int]:
    return [int(row[0]) for batch in batches for row in batch]


def test_each_pass_has_every_example_once_in_another_order() -> None:
    seen = indices(passes(DataLoader(Augmented(), 3, shuffle=True)))
    assert sorted(seen[:14]) == sorted(seen[14:]) == list(range(14))
    assert seen[:14] != seen[14:]


@pytest.mark.parametrize("at", [5, 7])
def test_what_a_sampler_was_given_between_passes_is_kept(at: int) -> None:
    def run(data: Any, begin: int, end: int) -> tuple[list[Any], Any]:
        batches, seen = endless(data), []
        for number in range(begin, end):
            seen.append(next(batches))
            if number == 4:  # the last of the first pass
                data.loader.sampler.weights[:13] = 0
        return seen, data.state()

    def make() -> Any:
        torch.manual_seed(3)
        return placed(DataLoader(Augmented(), 3, sampler=Mindful()))

    whole, _ = run(make(), 0, 10)
    data = make()
    _, state = run(data, 0, at)
    data = make()
    data.load_state(state)
    assert same(run(data, at, 10)[0], whole[at:])


def test_what_a_sampler_does_not_change_is_not_kept() -> None:
    data = placed(DataLoader(Augmented(), 3, sampler=Mindful()))
    passes = endless(data)
    next(passes)
    assert "kept" not in data.state()
    for _ in range(5):
        next(passes)
    assert data.state()["kept"].keys() == {"1.order", "1.passes"}


OF_THE_MODULE = np.random.default_rng(8)


def noise() -> list[float]:
    return [OF_THE_MODULE.random() for _ in range(2)]


class Elsewhere(Dataset[Any]):
    """Examples with noise of generators that are no attributes of the dataset itself."""

    of_the_class = random.Random(9)
    __slots__ = ("of_a_slot",)

    def __init__(self) -> None:
        self.of_a_slot = torch.Generator()

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        slot = torch.rand((), generator=self.of_a_slot).item()
        return torch.tensor([index, *noise(), self.of_the_class.random(), slot])


class TestGeneratorsElsewhere(DataContract):
    def make(self) -> Any:
        return placed(DataLoader(Elsewhere(), 2, shuffle=True))


def test_generators_elsewhere_are_found_once_each() -> None:
    dataset = Elsewhere()
    found = generators_in([dataset, dataset])
    expected = [OF_THE_MODULE, Elsewhere.of_the_class, dataset.of_a_slot]
    assert {id(each) for each in found} == {id(each) for each in expected}
    assert len(found) == 3


def test_noise_differs_from_batch_to_batch_and_from_pass_to_pass() -> None:
    noise = torch.cat(passes(DataLoader(Augmented(), 3)))[:, 1:]
    assert all(len(set(column.tolist())) == 28 for column in noise.T)


def test_the_same_batches_come_from_any_number_of_workers() -> None:
    def loader(workers: int) -> DataLoader[Any]:
        return DataLoader(Augmented(), 3, shuffle=True, num_workers=workers)

    whole = passes(loader(0))
    data = TorchData(loader(2))
    assert all(map(same, islice(endless(data), 3), whole))
    resumed = TorchData(loader(1))
    resumed.load_state(data.state())
    assert all(map(same, islice(endless(resumed), 7), whole[3:]))


def test_going_to_a_place_loads_nothing_that_lies_before_it() -> None:
    dataset = Augmented()
    data = TorchData(DataLoader(dataset, 3))
    data.load_state({**data.state(), "position": 4})
    assert indices([next(endless(data))]) == [12, 13]
    assert dataset.loaded == [12, 13]


def test_loading_leaves_the_generators_of_the_process_alone() -> None:
    def drawn() -> list[float]:
        return [random.random(), np.random.random(), torch.rand(()).item()]

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)

    seed()
    expected = drawn()
    loader = DataLoader(Augmented(), 3, shuffle=True)
    seed()
    passes(loader)
    assert drawn() == expected


def test_the_order_depends_on_the_seed_of_the_generator_that_was_given() -> None:
    def loader(seed: int) -> DataLoader[Any]:
        return DataLoader(
            Augmented(), 3, shuffle=True, generator=torch.Generator().manual_seed(seed)
        )

    assert indices(passes(loader(1))) == indices(passes(loader(1)))
    assert indices(passes(loader(1))) != indices(passes(loader(2)))
    with pytest.raises(ResumeError, match=r"here .*seed=2; there .*seed=1"):
        TorchData(loader(2)).load_state(TorchData(loader(1)).state())


def test_a_run_that_gave_no_seed_goes_on_with_the_one_it_had() -> None:
    loader = DataLoader(Augmented(), 3, shuffle=True)
    torch.manual_seed(1)
    data = TorchData(loader)
    whole = passes(loader)
    torch.manual_seed(2)
    resumed = TorchData(loader)
    resumed.load_state(data.state())
    assert all(map(same, islice(endless(resumed), 10), whole))


def test_each_process_takes_its_piece_of_every_batch() -> None:
    def loader() -> DataLoader[Any]:
        return DataLoader(Augmented(), 6, shuffle=True)

    def pieces(count: int, done: int = 0) -> list[list[int]]:
        found = []
        for rank in range(count):
            data = TorchData(loader(), part=(rank, count))
            data.load_state({**data.state(), "position": done})
            found.append([indices([batch]) for batch in islice(endless(data), 6 - done)])
        return [list(chain(*batch)) for batch in zip(*found, strict=True)]

    whole = [indices([batch]) for batch in passes(loader(), 6)]
    assert pieces(2) == whole
    assert pieces(2, 1) == whole[1:]
    states = [TorchData(loader(), part=(0, count)).state() for count in (1, 2)]
    assert states[0] == states[1]


def test_pieces_differ_in_their_random_numbers() -> None:
    halves = [passes(DataLoader(Augmented(), 14), 1, part=(rank, 2))[0] for rank in (0, 1)]
    assert not set(halves[0][:, 1].tolist()) & set(halves[1][:, 1].tolist())


def test_the_order_of_a_distributed_sampler_goes_on_with_another_number_of_processes() -> None:
    def data(rank: int, count: int) -> TorchData:
        dataset = Augmented(24)
        sampler = DistributedSampler(dataset, count, rank, seed=3)
        return TorchData(DataLoader(dataset, 12 // count, sampler=sampler))

    def steps(count: int, state: Any = None) -> list[set[int]]:
        several = [data(rank, count) for rank in range(count)]
        for each in several:
            each.load_state(state or each.state())
        found = zip(*(islice(endless(each), 4 - bool(state)) for each in several), strict=True)
        return [set(indices(list(batches))) for batches in found]

    one = data(0, 2)
    assert one.shared
    assert not data(0, 1).shared
    next(endless(one))
    whole = steps(2)
    assert [len(step) for step in whole] == [12] * 4
    assert whole[0] | whole[1] == set(range(24))
    assert whole[1] != whole[3], "set_epoch was not called"
    assert steps(3, one.state()) == whole[1:]


def test_a_place_in_other_data_is_refused() -> None:
    state = TorchData(DataLoader(Augmented(), 3)).state()
    with pytest.raises(ResumeError, match=r"here examples=14, batch_size=3, .*; there examples=14"):
        TorchData(DataLoader(Augmented(), 3, shuffle=True)).load_state(state)


def test_a_worker_sees_the_dataset_that_the_user_gave() -> None:
    def begin(worker: int) -> None:
        info = get_worker_info()
        assert info is not None
        info.dataset.examples = 100 + worker  # type: ignore[attr-defined]

    class Counting(Augmented):
        def __getitem__(self, index: int) -> Any:
            return torch.tensor([self.examples])

    loader = DataLoader(Counting(), 2, num_workers=1, worker_init_fn=begin)
    assert next(endless(TorchData(loader))).tolist() == [[100], [100]]


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(9))


class Own(DataLoader[Any]):
    def __iter__(self) -> Any:
        return super().__iter__()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: DataLoader(Stream()), "an IterableDataset has no indices; torchdata's Stateful"),
        (lambda: Own(Augmented()), "Own has an __iter__ of its own"),
        (lambda: DataLoader(Augmented(), in_order=False), "batches come as the workers happen"),
    ],
)
def test_a_loader_without_an_order_is_refused(
    make: Callable[[], DataLoader[Any]], reason: str
) -> None:
    loader = make()
    assert place_in(placed(loader)) is None
    with pytest.raises(TypeError, match=reason):
        TorchData(loader)


@pytest.mark.parametrize(
    ("make", "part", "message"),
    [
        (lambda: DataLoader(Augmented(), 3), (2, 2), r"part is \(2, 2\); expected \(rank, count\)"),
        (lambda: DataLoader(Augmented(), 3), (0, 4), "a batch of 3 examples makes no pieces for 4"),
        (lambda: DataLoader(Augmented(), 13), (0, 2), "a batch of 1 examples makes no pieces"),
        (lambda: DataLoader(Augmented(), None), (0, 2), "a DataLoader that makes no batches has"),
    ],
)
def test_what_makes_no_pieces_is_refused(
    make: Callable[[], DataLoader[Any]], part: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        TorchData(make(), part=part)


def test_only_a_loader_is_taken() -> None:
    with pytest.raises(TypeError, match="TorchData takes a DataLoader, not a list"):
        TorchData([1])  # type: ignore[arg-type]
