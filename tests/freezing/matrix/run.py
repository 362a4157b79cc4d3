"""Run the matrix: python -m tests.freezing.matrix.run ENGINE; a line of JSON for each cell.

python -m tests.freezing.matrix.run --write       all engines, into docs/freezing-matrix.md
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "freezing-matrix.md"

#: Module of an engine -> what is set in its process.
ENGINES: dict[str, dict[str, str]] = {
    "on_torch": {},
    "on_tf": {},
    "on_tf2": {},
    "on_nnx": {},
    "on_linen": {},
    "on_keras:tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "on_keras:jax": {"KERAS_BACKEND": "jax"},
    "on_keras:torch": {"KERAS_BACKEND": "torch"},
}
QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def run_here(engine: str) -> None:
    """Run the cells of one engine in this process."""
    from . import cells

    for line in cells.run(import_module(f"{__package__}.{engine}").ENGINE):
        print(json.dumps(line), flush=True)


def run_in_process(engine: str) -> list[dict[str, dict[str, object]]]:
    """Return what came of the cells of one engine, run in a process of its own."""
    name = engine.partition(":")[0]
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__ or 'tests.freezing.matrix'}.run", name],
        cwd=ROOT,
        env={**os.environ, **QUIET, **ENGINES[engine]},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{engine} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def run_all() -> dict[str, list[dict[str, dict[str, object]]]]:
    """Return what came of all engines, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(ENGINES, pool.map(run_in_process, ENGINES), strict=True))


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        from . import page

        PAGE.write_text(page.page(PAGE.read_text(), run_all()))
    else:
        run_here(sys.argv[1])
