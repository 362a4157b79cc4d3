"""Checkpoints that other libraries wrote: golden ones, and what torch itself saves here."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.doctor import folders
from warmstart.doctor.diagnose import diagnose
from warmstart.doctor.findings import Diagnosis
from warmstart.errors import CheckpointNotFound, MissingDependency
from warmstart.files.variables import save_vars
from warmstart.formats.tf_bundle.state import write_state

from .conftest import GOLDEN

torch = pytest.importorskip("torch")

TRAINERS = GOLDEN / "trainers"


def missing(found: Diagnosis) -> list[str]:
    return [piece.name for piece in found.missing]


def told(found: Diagnosis) -> dict[str, str]:
    return {piece.name: piece.what for piece in found.pieces if piece.saved}


@pytest.mark.parametrize(
    ("path", "writer", "lacks"),
    [
        ("trainers/lightning-mid-epoch.ckpt", "Lightning 2.6.6", ["data", "random states"]),
        ("trainers/lightning-stateful.ckpt", "Lightning 2.6.6", ["random states"]),
        ("trainers/lightning-weights.ckpt", "Lightning 2.6.6",
         ["optimizer", "data", "random states"]),
        ("trainers/transformers/checkpoint-2", "transformers' Trainer", []),
        ("trainers/accelerate", "Accelerate", ["epoch", "data"]),
        ("torch/checkpoint.pt", "torch.save", ["step", "data", "random states"]),
        ("msgpack/train_state.msgpack", "Flax", ["epoch", "data", "random states"]),
        ("orbax/v0128/standard", "Orbax", ["epoch", "data", "random states"]),
        ("dcp/fsdp", "torch.distributed.checkpoint", ["step", "epoch", "data", "random states"]),
        ("keras/sequential.keras", "Keras", ["epoch", "data", "random states"]),
        ("keras/sequential.weights.h5", "Keras", ["epoch", "data", "random states"]),
        ("tf_objects/keras3-1", "tf.train.Checkpoint", ["epoch", "data", "random states"]),
        ("tf_bundle/model-7", "TensorFlow, or save_vars",
         ["optimizer", "epoch", "data", "random states"]),
        ("tf_v1/model-7", "TensorFlow's old Saver",
         ["optimizer", "step", "epoch", "data", "random states"]),
    ],
)  # fmt: skip
def test_what_lacks_in_golden_checkpoints(path: str, writer: str, lacks: list[str]) -> None:
    found = diagnose(GOLDEN / path)
    assert (found.written_by, missing(found)) == (writer, lacks)
    assert found.exact == (not lacks)


def test_a_checkpoint_of_lightning_is_told() -> None:
    assert told(diagnose(TRAINERS / "lightning-stateful.ckpt")) == {
        "variables": "2 variables",
        "optimizer": "AdamW: step, exp_avg, exp_avg_sq, of 2 of 2 parameters",
        "schedule": "at 0, rate 0.1 (lr_schedulers/0)",
        "step": "3 (global_step)",
        "epoch": "0",
        "data": "torchdata's StatefulDataLoader (loops/fit_loop/state_dict/combined_loader/0)",
        "callbacks": "EarlyStopping, ModelCheckpoint",
    }


def test_a_folder_of_trainer_is_told_from_all_of_its_files() -> None:
    found = diagnose(TRAINERS / "transformers/checkpoint-2")
    assert told(found) == {
        "variables": "2 variables",
        "optimizer": "AdamW: step, exp_avg, exp_avg_sq, of 2 of 2 parameters",
        "schedule": "at 2, rate 0.0 (scheduler.pt)",
        "step": "2 (trainer_state.json/global_step)",
        "epoch": "0.5 (trainer_state.json/epoch)",
        "random states": "Python (rng_state.pth/python), NumPy (rng_state.pth/numpy), "
        "PyTorch (rng_state.pth/cpu)",
        "callbacks": "TrainerControl (trainer_state.json/stateful_callbacks)",
    }
    (data,) = [piece for piece in found.pieces if piece.name == "data"]
    assert data.saved is None
    assert "goes through the batches before them again" in data.what


@pytest.mark.parametrize(
    ("file", "lacks"),
    [
        ("rng_state.pth", ["random states"]),
        ("optimizer.pt", ["optimizer"]),
        ("model.safetensors", ["variables"]),
    ],
)
def test_a_file_that_lacks_is_a_piece_that_lacks(
    tmp_path: Path, file: str, lacks: list[str]
) -> None:
    folder = tmp_path / "checkpoint-2"
    shutil.copytree(TRAINERS / "transformers/checkpoint-2", folder)
    (folder / file).unlink()
    assert missing(diagnose(folder)) == lacks


def test_of_several_checkpoints_of_trainer_the_newest_is_meant(tmp_path: Path) -> None:
    for name in ("checkpoint-2", "checkpoint-10"):
        shutil.copytree(TRAINERS / "transformers/checkpoint-2", tmp_path / name)
    (tmp_path / "checkpoint-99").mkdir()  # a save that had just begun
    assert diagnose(tmp_path).path == str(tmp_path / "checkpoint-10")


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("trainer_state.json", b'{"epoch": ', "cannot be read: the file is not JSON"),
        ("optimizer.pt", b"garbage", "cannot be read: "),
        ("scheduler.pt", b"", "cannot be read: "),
        ("model.safetensors", b"garbage", "cannot be read: "),
    ],
)
def test_a_broken_file_of_a_folder_is_a_piece_that_lacks(
    tmp_path: Path, file: str, content: bytes, why: str
) -> None:
    folder = tmp_path / "checkpoint-2"
    shutil.copytree(TRAINERS / "transformers/checkpoint-2", folder)
    sound = len(diagnose(folder).pieces)
    (folder / file).write_bytes(content)
    found = diagnose(folder).pieces
    broken = [p for p in found if p.what.startswith(why)]
    assert [p.saved for p in broken] == [False]
    assert len(found) > sound - 2


def test_a_package_that_is_missing_is_no_fault_of_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_as(format: str, path: Path, **options: Any) -> Any:
        raise MissingDependency("needs h5py: pip install h5py")

    monkeypatch.setattr(folders, "open_as", open_as)
    folder = TRAINERS / "transformers/checkpoint-2"
    with pytest.raises(MissingDependency, match="needs h5py: pip install h5py") as raised:
        diagnose(folder)
    assert raised.value.__notes__ == [f"while reading {folder}"]


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="nothing is at"):
        diagnose(tmp_path / "model-3")


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """All that a careful program saves with PyTorch."""
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    module(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    scheduler.step()
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    return {
        "net": module.state_dict(),
        "opt": optimizer.state_dict(),
        "sched": scheduler.state_dict(),
        "amp": scaler.state_dict(),
        "epoch": 2,
        "iteration": torch.tensor(7),
        # as torchdata 0.11 says it of a loader with workers
        "loader": {
            "_snapshot": {"_snapshot_step": 1, "_main_snapshot": {"_num_workers": 1}},
            "_steps_since_snapshot": 0,
            "_iterator_finished": False,
        },
        "rng": {
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "python": random.getstate(),
        },
    }


def test_all_that_a_program_saved_is_recognised(tmp_path: Path, parts: dict[str, Any]) -> None:
    torch.save(parts, tmp_path / "all.pt")
    found = diagnose(tmp_path / "all.pt")
    assert found.exact
    assert told(found) == {
        "variables": "2 variables",
        "optimizer": "SGD: momentum_buffer, of 2 of 2 parameters",
        "schedule": "at 1, rate 0.1 (sched)",
        "gradient scaler": "scale 8.0 (amp)",
        "step": "7 (iteration)",
        "epoch": "2",
        "data": "torchdata's StatefulDataLoader (loader)",
        "random states": "PyTorch (rng/torch), NumPy (rng/numpy), Python (rng/python)",
    }


@pytest.mark.parametrize(
    ("part", "lacks"),
    [
        ("opt", ["optimizer"]), ("epoch", ["epoch"]), ("iteration", ["step"]),
        ("loader", ["data"]), ("rng", ["random states"]), ("net", ["variables"]),
        ("sched", []), ("amp", []),
    ],
)  # fmt: skip
def test_each_part_that_was_left_out_is_missed(
    tmp_path: Path, parts: dict[str, Any], part: str, lacks: list[str]
) -> None:
    torch.save({key: value for key, value in parts.items() if key != part}, tmp_path / "some.pt")
    assert missing(diagnose(tmp_path / "some.pt")) == lacks


def test_parameters_without_slots_are_counted(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(module.parameters())
    module.weight.sum().backward()  # the bias has no gradient
    optimizer.step()
    torch.save({"m": module.state_dict(), "o": optimizer.state_dict()}, tmp_path / "m.pt")
    found = told(diagnose(tmp_path / "m.pt"))
    assert found["optimizer"] == "Adam: step, exp_avg, exp_avg_sq, of 1 of 2 parameters"


def test_an_optimizer_may_have_no_slots(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], 0.1)
    torch.save({"w": torch.ones(2), "o": optimizer.state_dict()}, tmp_path / "m.pt")
    assert told(diagnose(tmp_path / "m.pt"))["optimizer"] == "SGD that kept no slots"


def test_a_configuration_of_data_is_no_place_in_it(tmp_path: Path) -> None:
    value = {"w": torch.ones(2), "dataset": {"name": "digits", "size": 3}, "loader": {}}
    torch.save(value, tmp_path / "m.pt")
    assert "data" in missing(diagnose(tmp_path / "m.pt"))


@pytest.mark.parametrize(
    ("arrays", "piece", "said"),
    [
        ({"rngs/key": np.ones(2, "u4")}, "random states", "JAX (rngs/key)"),
        ({"dropout/seed_generator_state": np.ones(2, "u4")}, "random states",
         "Keras (dropout/seed_generator_state)"),
        ({"gen/_state_var/.ATTRIBUTES/VARIABLE_VALUE": np.ones(3, "i8")}, "random states",
         "TensorFlow's Generator (gen/_state_var/.ATTRIBUTES/VARIABLE_VALUE)"),
        ({"state/step": np.int64([4])}, "step", "4 (state/step)"),
    ],
)  # fmt: skip
def test_pieces_are_recognised_in_flat_files(
    tmp_path: Path, arrays: dict[str, np.ndarray], piece: str, said: str
) -> None:
    save_vars({"w": np.ones(2), **arrays}, tmp_path / "model-1")
    found = told(diagnose(tmp_path / "model-1"))
    assert found[piece] == said
    assert found["variables"] == "1 variable"


def test_objects_of_tensorflow_are_told() -> None:
    found = diagnose(TRAINERS / "tensorflow-1")
    assert found.exact
    assert told(found) == {
        "variables": "1 variable",
        "optimizer": "Adam or AdamW of Keras: momentum, velocity",
        "step": "1 (adam/iteration), 7",
        "epoch": "2",
        "data": "a tf.data iterator (iterator/.ATTRIBUTES/ITERATOR_STATE)",
        "random states": "TensorFlow's Generator (generator/_state_var/.ATTRIBUTES/VARIABLE_VALUE)",
    }


def test_the_state_of_grain_lies_beside_orbax_arrays(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "orbax/v0128/standard", tmp_path / "20/state")
    (tmp_path / "20/data").mkdir()
    (tmp_path / "20/data/process_0-of-1.json").write_text("{}")
    found = told(diagnose(tmp_path / "20/state"))
    assert found["data"] == "a Grain iterator (data/process_0-of-1.json)"


def test_keras_backup_has_its_epoch_in_a_file(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "keras/sequential.weights.h5", tmp_path / "latest.weights.h5")
    (tmp_path / "training_metadata.json").write_text(json.dumps({"epoch": 3, "batch": 0}))
    found = diagnose(tmp_path)
    assert found.written_by == "Keras' BackupAndRestore"
    assert told(found)["epoch"] == "3 (training_metadata.json/epoch)"
    assert missing(found) == ["data", "random states"]


def tensorpack(folder: Path, statistics: Any) -> Path:
    save_vars({"w": np.ones(3), "w/Momentum": np.zeros(3), "global_step": np.int64(10)},
              folder / "model-10")  # fmt: skip
    write_state(folder, "model-10", ["model-10"])
    (folder / "stats.json").write_text(json.dumps(statistics))
    return folder


def test_a_folder_of_tensorpack_has_its_epoch_in_its_statistics(tmp_path: Path) -> None:
    found = diagnose(tensorpack(tmp_path, [{"epoch_num": 2, "global_step": 10}]))
    assert found.written_by == "Tensorpack"
    assert told(found)["epoch"] == "2 (stats.json)"
    assert told(found)["optimizer"] == "SGD with momentum: Momentum"
    assert missing(found) == ["data", "random states"]


def test_statistics_of_other_steps_do_not_tell_the_epoch(tmp_path: Path) -> None:
    found = diagnose(tensorpack(tmp_path, [{"epoch_num": 2, "global_step": 5}]))
    assert missing(found) == ["epoch", "data", "random states"]
    assert "has no epoch that ended at step 10" in found.missing[0].what


@pytest.mark.parametrize("like", [dict, list])
def test_odd_trees_are_no_error(tmp_path: Path, like: Callable[..., Any]) -> None:
    odd = {"state": {}, "last_epoch": {}, "_last_lr": 3, "scale": [], "callbacks": 3, "step": "x"}
    torch.save(like({"a": odd, "b": [[[[[[[[[[[[[[odd]]]]]]]]]]]]]]}.items()), tmp_path / "odd.pt")
    assert missing(diagnose(tmp_path / "odd.pt"))
