"""Where the training of the demo is killed, and how the story ends when something fails."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart import cli, demo
from warmstart.demo import telling
from warmstart.demo.story import EPOCHS, KILLS, SAVE_EVERY, STEPS, kill_steps


@given(st.integers(0, 10**6))
def test_kills_are_inside_epochs_and_not_just_after_a_save(seed: int) -> None:
    steps = kill_steps(seed)
    assert len(set(steps)) == KILLS
    assert steps == sorted(steps)
    assert all(0 < step < STEPS * EPOCHS for step in steps)
    assert all(step % STEPS and step % SAVE_EVERY for step in steps)


def test_a_claim_that_fails_makes_the_command_exit_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "tell", lambda telling, *rest: telling.prove("2 is odd", False))
    assert cli.run(["demo", "--folder", str(tmp_path)]) == 1


def test_a_training_that_fails_ends_the_story(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(telling.PROGRAMS, "python", ["false"])
    assert not demo.run("torch", tmp_path)
    assert "0 of 1 claims proved" in capsys.readouterr().out
