"""What converting takes of memory: 150 MiB and the largest tensor, whatever the formats."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from warmstart.files.variables import save_vars

BENCH = Path(__file__).parents[2] / "bench" / "convert.py"
TENSORS, MEBIBYTES = 24, 8  # in all more than is allowed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
@pytest.mark.parametrize(("source", "target"), [("m.npz", "m.msgpack"), ("m.pt", "m.h5")])
def test_one_tensor_is_in_memory_at_a_time(source: str, target: str, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("bench_convert", BENCH)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    tensor = np.ones(MEBIBYTES << 18, np.float32)
    save_vars({f"w{i}": tensor for i in range(TENSORS)}, tmp_path / source)
    _, mebibytes = bench.converted(tmp_path / source, tmp_path / target)
    assert mebibytes < 150 + MEBIBYTES
