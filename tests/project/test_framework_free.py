"""Checkpoints are read, compared and converted where no framework can be imported."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

#: Run before a command: an import of a framework, or a look for one, ends the process.
BLOCK = """
import sys

class Frameworks:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "tensorflow", "tf_keras", "torch", "keras", "jax", "flax", "optax", "orbax",
            "safetensors", "gguf", "onnx", "msgpack", "omegaconf", "snappy",
        }:
            raise SystemExit(f"{name} was asked for")

sys.meta_path.insert(0, Frameworks())
"""
CLI = BLOCK + "from warmstart.cli import main\nmain(sys.argv[1:])"

GOLDEN = Path(__file__).parents[1] / "golden"

#: A checkpoint of each kind, as its own framework wrote it.
WRITTEN_BY_OTHERS = [
    "tf_bundle/model-7", "tf_objects/keras3-1", "tf_v1/sharded-7", "tf_v1/model-7",
    "torch/checkpoint.pt", "torch/stream.pt", "torch/tar.pt", "torch/module.pt", "torch/script.pt",
    "torch/dtypes.pt", "torch/shards", "dcp/fsdp", "dcp/mesh", "keras/functional.keras",
    "keras/functional.weights.h5", "keras/sharded.weights.json", "keras/old_functional.h5",
    "msgpack/train_state.msgpack", "msgpack/chunked.msgpack", "gguf/v3.gguf", "onnx/model.onnx",
    "onnx/external.onnx", "trainers/lightning-mid-epoch.ckpt",
]  # fmt: skip

#: List, show, verify and convert the checkpoint of the first argument in the folder of the second.
USE = """
import sys
from warmstart.cli import run
path, folder = sys.argv[1:]
for command in (["ls"], ["ls", "--all", "--json"], ["show"], ["verify"], ["convert"]):
    name, *options = command
    code = run([name, path, *([f"{folder}/copy.npz"] if name == "convert" else []), *options])
    assert code == 0, (command, code)
assert run(["diff", path, f"{folder}/copy.npz"]) == 0
assert run(["doctor", path]) == 1
"""


def run(code: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundles a and b, alike, and c, which differs from them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    code = (
        "import numpy as np, warmstart as ws\n"
        "w = np.arange(6, dtype='float32').reshape(2, 3)\n"
        "ws.save_vars({'fc/kernel': w, 'fc/bias': w[0]}, 'a')\n"
        "ws.save_vars({'fc/kernel': w, 'fc/bias': w[0]}, 'b')\n"
        "ws.save_vars({'fc/kernel': w, 'fc/bias': w[1]}, 'c')\n"
    )
    done = run(BLOCK + code, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_importing_warmstart_imports_no_numpy() -> None:
    code = "import warmstart\nassert 'numpy' not in sys.modules\nassert 'rich' not in sys.modules"
    done = run(BLOCK + code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("ls a", 0),
        ("ls a --json", 0),
        ("show a", 0),
        ("show a --json", 0),
        ("diff a b", 0),
        ("diff a c", 1),
        ("diff a c --json", 1),
        ("verify a", 0),
        ("verify --deep .", 0),
        ("verify --repair --dry-run .", 1),
        ("doctor a", 1),
        ("convert a a.safetensors", 0),
        ("convert a a.npz", 0),
        ("dump a dumped.npz", 0),
    ],
)
def test_a_command_needs_no_framework(command: str, code: int, folder: Path) -> None:
    done = run(CLI, *command.split(), folder=folder)
    assert done.returncode == code, done.stderr


def test_what_was_converted_is_the_same(folder: Path) -> None:
    assert run(CLI, "convert", "a", "copy.npz", folder=folder).returncode == 0
    with np.load(folder / "copy.npz") as copy:
        assert copy["fc/kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("name", ["torch", "tensorflow", "jax.numpy"])
def test_the_block_holds(name: str) -> None:
    done = run(BLOCK + f"import {name}")
    assert (done.returncode, done.stderr.strip()) == (1, f"{name.partition('.')[0]} was asked for")


def test_a_star_import_needs_no_framework() -> None:
    done = run(BLOCK + "from warmstart import *\nassert open is __builtins__.open")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", WRITTEN_BY_OTHERS)
def test_what_any_framework_wrote_is_used_without_it(name: str, tmp_path: Path) -> None:
    done = run(BLOCK + USE, str(GOLDEN / name), str(tmp_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
