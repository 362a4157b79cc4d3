"""Resuming takes everything or says what is missing."""

import numpy as np
import pytest

from warmstart.errors import ResumeError
from warmstart.restore.resume import resume
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

ARRAYS = {
    "enc/w": np.ones((2, 3), np.float32),
    "enc/b": np.full(3, 2, np.float32),
    "enc/mean": np.full(3, 3, np.float32),
    "fc/w": np.full((3, 4), 4, np.float32),
    "enc/w/Adam": np.full((2, 3), 5, np.float32),
    "step": np.int64(6),
}


def without(*names):
    return {name: array for name, array in ARRAYS.items() if name not in names}


def test_everything_is_restored_slots_and_counters_too(session):
    report = resume(session, DictSource({**ARRAYS, "_RUN/state": np.zeros(1)}))
    assert set(report.loaded) == set(session.specs)
    assert session.arrays["step"] == 6


def test_slots_are_created():
    w = TensorSpec("w", "float32", (2,), "trainable")
    session = MemorySession([w], slots_to_come=["w/m"])
    arrays = {"w": np.ones(2, np.float32), "w/m": np.full(2, 7, np.float32)}
    resume(session, DictSource(arrays, roles={"w": "trainable", "w/m": "slot"}))
    assert session.arrays["w/m"].tolist() == [7, 7]


def test_all_that_cannot_be_restored_is_named_and_nothing_assigned(session):
    arrays = without("enc/w/Adam", "step") | {
        "fc/w": np.ones((3, 5), np.float32),
        "enc/b": np.ones(3),
        "gone/m": np.ones(1),
    }
    with pytest.raises(ResumeError) as caught:
        resume(session, DictSource(arrays, roles={"gone/m": "slot"}))
    assert str(caught.value).splitlines() == [
        "5 variables cannot be restored exactly; nothing was assigned",
        "  fc/w        model float32 (3, 4), checkpoint float32 (3, 5)",
        "  enc/w/Adam  not in the checkpoint",
        "  step        not in the checkpoint",
        "  enc/b       model float32 (3,), checkpoint float64 (3,)",
        "  gone/m      in the checkpoint, and not in the model or its optimizer",
        "To go on all the same: accept=['fc/w', 'enc/w/Adam', 'step', ...]; patterns will do.",
    ]
    assert session.order == []


def test_what_is_accepted_is_left_out(session):
    arrays = without("enc/w/Adam") | {"fc/w": np.ones((3, 5), np.float32), "enc/b": np.ones(3)}
    report = resume(session, DictSource(arrays), accept=["*/Adam", "fc/w", "re:enc/b"])
    assert set(report.initialized) == {"enc/w/Adam", "fc/w"}
    assert report.cast == {"enc/b": "float64 -> float32"}


def test_a_file_of_another_program_may_hold_more(session):
    report = resume(session, DictSource(ARRAYS | {"EMA/loss": np.ones(1)}))
    assert report.unused == ("EMA/loss",)
