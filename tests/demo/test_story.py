"""Where the training of the demo is killed."""

from hypothesis import given
from hypothesis import strategies as st

from warmstart.demo.story import EPOCHS, KILLS, SAVE_EVERY, STEPS, kill_steps


@given(st.integers(0, 10**6))
def test_kills_are_inside_epochs_and_not_just_after_a_save(seed: int) -> None:
    steps = kill_steps(seed)
    assert len(set(steps)) == KILLS
    assert steps == sorted(steps)
    assert all(0 < step < STEPS * EPOCHS for step in steps)
    assert all(step % STEPS and step % SAVE_EVERY for step in steps)
