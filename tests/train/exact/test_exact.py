"""On every engine, a run with all that it can depend on goes on to the last bit; see run.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")

#: The program of an engine -> what is set in its process.
ENGINES: dict[str, dict[str, str]] = {
    "on_torch": {},
    "on_tf_graph": {},
    "on_tf2": {},
    "on_keras:tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "on_keras:jax": {"KERAS_BACKEND": "jax"},
    "on_keras:torch": {"KERAS_BACKEND": "torch"},
    "on_nnx": {},
    "on_jax": {},
}
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stopped_run_ends_with_the_same_bits(engine: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), engine.partition(":")[0], str(tmp_path)],
        env={**os.environ, **QUIET, **ENGINES[engine]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
