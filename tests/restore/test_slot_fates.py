"""What a report says of slots: kept, lost, begun anew; and when it says nothing."""

import json

import numpy as np
import pytest

import warmstart as ws
from warmstart.restore.slot_fates import SlotFates
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

OLD = {
    "a/w": np.ones(2, np.float32),
    "a/w/Adam": np.full(2, 2, np.float32),
    "b/w": np.full(2, 3, np.float32),
    "b/w/Adam": np.full(2, 4, np.float32),
    "beta1_power": np.float32(0.5),
}


def session(*names, slots=True):
    """Return a session with a variable for each of *names*, and a slot of each."""
    specs = [TensorSpec(f"{n}/w", "float32", (2,), "trainable") for n in names]
    more = [TensorSpec(f"{n}/w/Adam", "float32", (2,), "slot") for n in names if slots]
    return MemorySession([*specs, *more])


@pytest.fixture
def path(tmp_path):
    ws.save_vars(OLD, tmp_path / "old.npz")
    return tmp_path / "old.npz"


def test_kept_lost_and_fresh(path):
    found = ws.SmartInit(path).init(session("a", "c")).slots
    assert found == SlotFates(("a/w/Adam",), {str(path): ("b/w/Adam",)}, ("c/w",))


def test_the_table_says_so_in_a_row_each(path):
    report = ws.SmartInit(path).init(session("a", "c"))
    rows = [line.split(maxsplit=2) for line in str(report).splitlines()]
    assert rows[-2:] == [
        ["lost", "b/w/Adam", f"slots in {path}"],
        ["fresh", "c/w", "slots begin anew"],
    ]


def test_json_has_them(path):
    report = ws.SmartInit(path).init(session("a", "c"))
    assert json.loads(report.to_json())["slots"] == {
        "kept": ["a/w/Adam"],
        "lost": {str(path): ["b/w/Adam"]},
        "fresh": ["c/w"],
    }


def test_a_renamed_variable_keeps_its_slots(path):
    report = ws.SmartInit(path, rules=["rename b/w -> c/w"]).init(session("a", "c"))
    assert report.slots == SlotFates(("a/w/Adam", "c/w/Adam"))


def test_a_dropped_slot_is_no_lost_one(path):
    report = ws.SmartInit(path, rules=["drop b/*"]).init(session("a"))
    assert report.slots == SlotFates(("a/w/Adam",))


def test_slots_to_come_count_as_kept(path):
    model = MemorySession(
        [TensorSpec("a/w", "float32", (2,), "trainable")], slots_to_come=["a/w/Adam"]
    )
    assert ws.SmartInit(path).init(model).slots.kept == ("a/w/Adam",)


def test_nothing_is_said_without_an_optimizer(path):
    report = ws.SmartInit(path).init(session("a", slots=False))
    assert report.slots == SlotFates()


def test_nothing_is_said_of_a_source_without_slots():
    report = ws.DictRestore({"a/w": OLD["a/w"]}).init(session("a"))
    assert report.slots == SlotFates()


def test_nothing_is_said_of_what_was_not_asked_for(path):
    report = ws.WarmStartSettings(path, "a").init(session("a"))
    assert report.slots == SlotFates()


def test_warnings_do_not_mention_slots(path, caplog):
    ws.SmartInit(path).init(session("a", "c"))
    assert "Adam" not in caplog.text
