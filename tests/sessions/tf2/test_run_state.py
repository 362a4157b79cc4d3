"""What a step of TensorFlow 2 depends on beside variables."""

import numpy as np
import pytest
import tensorflow as tf

from warmstart.errors import ResumeError
from warmstart.sessions.tf2 import run_state


def test_operations_that_run_at_once_get_the_seeds_that_come_next() -> None:
    tf.random.set_seed(3)
    tf.random.uniform([])
    state = run_state.state({})
    expected = [float(tf.random.uniform([])) for _ in range(3)]
    tf.random.set_seed(4)
    run_state.load_state(state)
    assert [float(tf.random.uniform([])) for _ in range(3)] == expected


def test_a_seed_taken_back_is_no_seed() -> None:
    tf.random.set_seed(np.int64(3))
    assert run_state.state({})["eager"]["seed"] == 3
    tf.random.set_seed(None)
    state = run_state.state({})
    assert "eager" not in state
    run_state.load_state(state)


def test_another_number_of_threads_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    state = run_state.state({})
    run_state.load_state(state)
    assert not caplog.records
    run_state.load_state({**state, "threads": 64})
    assert "computed with 64 threads" in caplog.text
    assert "tf.config.threading.set_intra_op_parallelism_threads(64) keeps them" in caplog.text


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("eager", r"the state of tf\.random\.set_seed is not as it was written: 'x'"),
        ("generator", "the state of TensorFlow's global generator is not as it was written: 'x'"),
    ],
)
def test_what_is_no_state_is_refused(key: str, message: str) -> None:
    with pytest.raises(ResumeError, match=message):
        run_state.load_state({key: "x"})
