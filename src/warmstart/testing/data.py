"""What a source of data owes the training loop, as tests to inherit:

class TestMine(DataContract):
    def make(self): return Mine(...)
"""

from abc import ABC, abstractmethod
from itertools import islice
from typing import Any

import numpy as np

from ..train.data import Place, endless, place_in
from ..train.run_state import pack, unpack


class DataContract(ABC):
    """Data that says and regains its place.  The same call of `make` is the same data."""

    batches = 12  # how far the tests look; better over the end of a pass

    @abstractmethod
    def make(self) -> Any:
        """Return the data anew, at its first batch, as a new process would."""

    def place(self, data: Any) -> Place:
        """Return how *data* says and regains its place."""
        place = place_in(data)
        assert place is not None, "it needs state() and load_state(), or state_dict() and ..."
        return place

    def test_the_same_data_has_the_same_batches(self) -> None:
        one, two = (list(islice(endless(self.make()), self.batches)) for _ in range(2))
        assert all(map(same, one, two))

    def test_it_goes_on_from_every_place(self) -> None:
        whole = list(islice(endless(self.make()), self.batches))
        for done in range(self.batches):
            data = self.make()
            list(islice(endless(data), done))
            resumed = self.make()
            self.place(resumed).load_state(through_a_checkpoint(self.place(data).state()))
            rest = list(islice(endless(resumed), self.batches - done))
            assert all(map(same, rest, whole[done:])), f"after {done} batches"

    def test_saying_the_place_does_not_move_it(self) -> None:
        data = self.make()
        place = self.place(data)
        seen = [(batch, place.state())[0] for batch in islice(endless(data), self.batches)]
        assert all(map(same, seen, islice(endless(self.make()), self.batches)))

    def test_a_place_once_said_does_not_change(self) -> None:
        data = self.make()
        batches = endless(data)
        next(batches)
        said = self.place(data).state()
        before = pack({"data": said})
        next(batches)
        assert same(pack({"data": said}), before)


def through_a_checkpoint(state: Any) -> Any:
    """Return *state* as a resumed run gets it."""
    text, arrays = pack({"data": state})
    return unpack(text, arrays.__getitem__)["data"]


def same(a: Any, b: Any) -> bool:
    """Return whether two batches, or trees of arrays, are equal to the last bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    left, right = np.asarray(a), np.asarray(b)
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return bool(left.tobytes() == right.tobytes())
