"""The contract holds for the session in memory, and fails for those that break it."""

import pytest

from warmstart.errors import ResumeError
from warmstart.spec import TensorSpec
from warmstart.testing import SessionContract
from warmstart.testing.memory import MemorySession


class TestMemorySession(SessionContract):
    def make(self):
        session = MemorySession(
            [
                TensorSpec("w", "float32", (2,), "trainable"),
                TensorSpec("v", "bfloat16", (), "trainable"),
                TensorSpec("seen", "bool", (1,), "model"),
                TensorSpec("step", "int64", (), "run"),
            ],
            aliases={"tied": "w"},
            slots_to_come=["w/m"],
        )
        return session, session.train


class Sloppy(MemorySession):
    """Keeps the very arrays it is given."""

    def _assign(self, values):
        for name, array in values:
            self.arrays[name] = array


class Unfrozen(MemorySession):
    """Says it holds still, and does not."""

    def freeze(self, names, *, train_statistics=False, regions=None):
        freezing = super().freeze(names)
        self.held.clear()
        return freezing


class Forgetful(MemorySession):
    """Makes no slots when they are assigned."""

    def creatable(self, specs):
        return {}


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Sloppy, "test_an_array_assigned_is_not_kept"),
        (Unfrozen, "test_what_is_frozen_stays_and_moves_again_when_thawed"),
        (Forgetful, "test_a_new_model_goes_on_from_a_saved_one_bit_for_bit"),
        (Sloppy, "test_an_unknown_name_is_refused"),
    ],
)
def test_the_contract_can_fail(kind, test):
    class Contract(SessionContract):
        def make(self):
            spec = TensorSpec("w", "float32", (2,), "trainable")
            session = kind([spec], slots_to_come=["w/m"])
            return session, session.train

    with pytest.raises((AssertionError, KeyError, pytest.fail.Exception, ResumeError)):
        getattr(Contract(), test)()
