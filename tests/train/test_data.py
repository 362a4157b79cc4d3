import random
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest

from warmstart.errors import ResumeError
from warmstart.testing.data import DataContract
from warmstart.train.data import Batches, Replayed, endless, place_in, warn_of_same


class TestBatches(DataContract):
    def make(self) -> Batches:
        return Batches((np.arange(14.0), np.arange(28).reshape(14, 2)), 3)


class TestBatchesInOrder(DataContract):
    def make(self) -> Batches:
        return Batches(np.arange(14), 3, shuffle=False, drop_last=True)


class Loader:
    """A loader with the names of torchdata's."""

    def __init__(self) -> None:
        self._next = 0

    def __iter__(self) -> Iterator[int]:
        while self._next < 5:
            self._next += 1
            yield self._next
        self._next = 0

    def state_dict(self) -> dict[str, int]:
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._next = state["next"]


class TestLoader(DataContract):
    def make(self) -> Loader:
        return Loader()


class Setting:
    """A loader with the names of grain's."""

    def __init__(self) -> None:
        loader = self._loader = Loader()
        self.get_state, self.set_state = loader.state_dict, loader.load_state_dict

    def __iter__(self) -> Iterator[int]:
        return iter(self._loader)


class TestSetting(DataContract):
    def make(self) -> Setting:
        return Setting()


class Forgetful(Loader):
    """A loader that loses its place."""

    def load_state_dict(self, state: dict[str, int]) -> None: ...


def test_the_contract_finds_a_loader_that_loses_its_place() -> None:
    class Contract(DataContract):
        def make(self) -> Loader:
            return Forgetful()

    with pytest.raises(AssertionError, match="after 1 batches"):
        Contract().test_it_goes_on_from_every_place()


def test_each_pass_has_every_example_once_in_another_order() -> None:
    data = Batches(np.arange(10), 4)
    passes = [np.concatenate([batch for (batch,) in data]) for _ in range(2)]
    assert [sorted(examples.tolist()) for examples in passes] == [list(range(10))] * 2
    assert passes[0].tolist() != passes[1].tolist()


def test_the_order_depends_on_the_seed_and_the_pass_alone() -> None:
    one, two = Batches(np.arange(10), 4, seed=3), Batches(np.arange(10), 4, seed=3)
    list(one)
    np.random.standard_normal()
    list(two)
    assert [b[0].tolist() for b in one] == [b[0].tolist() for b in two]


def test_without_shuffle_the_order_is_as_given() -> None:
    assert [b[0].tolist() for b in Batches(np.arange(5), 2, shuffle=False)] == [[0, 1], [2, 3], [4]]


def test_the_last_batch_may_be_dropped() -> None:
    data = Batches(np.arange(5), 2, shuffle=False, drop_last=True)
    assert [b[0].tolist() for b in data] == [[0, 1], [2, 3]]
    assert len(data) == 2


def test_several_arrays_go_together() -> None:
    inputs = np.arange(6)
    for left, right in Batches((inputs, -inputs), 2):
        np.testing.assert_array_equal(left, -right)


def test_a_place_in_another_cut_of_the_data_is_refused() -> None:
    state = Batches(np.arange(10), 4).state()
    with pytest.raises(ResumeError, match="not that of the checkpoint: here examples=10, batch_si"):
        Batches(np.arange(10), 5).load_state(state)


class TestAPiece(DataContract):
    def make(self) -> Batches:
        return Batches(np.arange(14), 5, part=(1, 3))


def test_each_process_takes_its_piece_of_every_batch() -> None:
    def pieces(count: int, state: Any = None) -> list[list[int]]:
        found = []
        for rank in range(count):
            data = Batches(np.arange(14), 5, part=(rank, count))
            data.load_state(state or data.state())
            found.append([batch.tolist() for (batch,) in data])
        return [list(chain(*batch)) for batch in zip(*found, strict=True)]

    whole = pieces(1)
    assert sorted(chain(*whole)) == list(range(14))
    assert pieces(2) == pieces(3) == whole
    two = Batches(np.arange(14), 5, part=(0, 2))
    next(iter(two))
    assert pieces(3, two.state()) == whole[1:]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ((0, 6), "a batch of 5 examples makes no pieces for 6 processes"),
        ((0, 5), r"a batch of 4 examples makes no pieces for 5 .* \(drop_last=True leaves"),
        ((2, 2), r"part is \(2, 2\); expected \(rank, count\), a process and how many"),
        ((-1, 2), r"part is \(-1, 2\); expected"),
        (3, "part is 3; expected"),
    ],
)
def test_what_makes_no_pieces_is_refused(part: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batches(np.arange(14), 5, part=part)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(3), 0), "batch_size is 0; expected 1 or more"),
        ((np.arange(0), 2), "0 examples make no batch of 2"),
        (((np.arange(3), np.arange(4)), 2), r"shapes \[\(3,\), \(4,\)\] do not have one first"),
        ((np.array(3.0), 2), r"the shapes \[\(\)\] do not have one first axis"),
        (((), 2), r"the shapes \[\] do not have"),
    ],
)
def test_what_makes_no_batches_is_refused(arguments: tuple[Any, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Batches(*arguments)


@pytest.mark.parametrize("size", ["4", 4.0, None])
def test_a_size_that_is_no_whole_number_is_refused(size: Any) -> None:
    with pytest.raises(TypeError, match=f"batch_size is {size!r}; expected a whole number"):
        Batches(np.arange(9), size)
    with pytest.raises(TypeError, match=f"seed is {size!r}; expected a whole number"):
        Batches(np.arange(9), 4, seed=size)
    assert Batches(np.arange(9), np.int64(4)).batch_size == 4


def test_dropping_the_only_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="1 examples make no batch of 2 when the last one is drop"):
        Batches(np.arange(1), 2, drop_last=True)


def test_passes_follow_one_another_without_end() -> None:
    assert list(islice(endless([1, 2]), 5)) == [1, 2, 1, 2, 1]


def test_a_first_pass_may_be_at_its_end() -> None:
    class Rest:
        """A resumed loader: the rest of the pass is empty, the next one is not."""

        passes = iter([[], [1]])

        def __iter__(self) -> Any:
            return iter(next(self.passes))

    assert next(endless(Rest())) == 1


def test_plain_iterables_have_no_place() -> None:
    assert place_in([1, 2]) is None


@pytest.mark.parametrize(
    ("data", "processes", "warned"),
    [
        (Batches(np.arange(4), 2), 2, True),
        (Batches(np.arange(4), 2), 1, False),
        (Batches(np.arange(4), 2, part=(0, 2)), 2, False),
        ([1, 2], 2, False),
    ],
)
def test_processes_that_train_on_the_same_batches_are_warned(
    data: Any, processes: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_same(data, processes)
    assert ("each of the 2 processes trains on the same batches" in caplog.text) is warned


class Shuffled:
    """A list in another order each time, by the random numbers that everybody uses."""

    def __iter__(self) -> Iterator[int]:
        order = list(range(5))
        random.shuffle(order)
        return iter(order)


class TestReplayed(DataContract):
    def make(self) -> Replayed:
        return Replayed([1, 2, 3, 4, 5])


def test_what_was_drawn_is_drawn_again_in_the_same_order() -> None:
    random.seed(0)
    data = Replayed(Shuffled())
    batches = endless(data)
    whole = [next(batches) for _ in range(7)]
    state, rest = data.state(), [next(batches) for _ in range(3)]
    resumed = Replayed(Shuffled())
    random.seed(1)
    resumed.load_state(state)
    assert [next(each) for each in [endless(resumed)] for _ in range(3)] == rest
    assert sorted(whole[5:] + rest) == list(range(5))
