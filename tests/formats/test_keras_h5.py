"""Legacy `.h5` files of Keras, and HDF5 files of plain datasets."""

import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from warmstart import CannotHold, CorruptCheckpoint, DictSource, UnsupportedCheckpoint
from warmstart.formats import keras_h5
from warmstart.testing.formats import FormatContract, assert_same
from warmstart.testing.reading import places

GOLDEN = Path(__file__).parents[1] / "golden" / "keras"
BASE = np.arange(6, dtype=np.float32).reshape(2, 3)

#: Reads a file with one byte changed at each of the places given, and says which comes next.
DAMAGE = """
import signal, sys
from pathlib import Path
from warmstart import CheckpointError
from warmstart.formats import keras_h5
path, flip = Path(sys.argv[1]), int(sys.argv[2])
whole = path.read_bytes()
for at in map(int, sys.argv[3:]):
    print(at, flush=True)
    signal.setitimer(signal.ITIMER_REAL, 2)
    path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
    try:
        with keras_h5.open_source(path, verify=True) as source:
            source.read_all()
    except CheckpointError:
        pass
    finally:
        path.write_bytes(whole)
"""


class TestKerasH5(FormatContract):
    """The promises of FormatContract."""

    format = keras_h5

    def petabyte(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("w", (1 << 50,), "u1", chunks=(1 << 20,), compression="gzip")

    @pytest.mark.parametrize("flip", [0x01, 0xFF])
    def test_every_flipped_byte_is_read_or_refused(self, flip: int, tmp_path: Path) -> None:
        """Damage is read in a child, as `untrusted=True` does: HDF5 1.14 loops on a broken heap.

        What the child is stopped for is the C library's; any error of ours but CheckpointError ends
        it with status 1.
        """
        path = self.sample(tmp_path)
        whole = path.read_bytes()
        left = [str(at) for at in places(len(whole))[::10]]
        while left:
            command = [sys.executable, "-c", DAMAGE, str(path), str(flip), *left]
            child = subprocess.run(command, capture_output=True, text=True, check=False)
            assert child.returncode in (0, -signal.SIGALRM, -signal.SIGSEGV), child.stderr
            path.write_bytes(whole)
            left = left[len(child.stdout.split()) :]


# --- files of Keras -------------------------------------------------------------------------------


def golden(name: str) -> dict[str, np.ndarray]:
    """Return what the model held that was saved."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key.replace("\\", "/"): arrays[key] for key in arrays}


@pytest.mark.parametrize(
    ("file", "model", "not_there"),
    [
        ("legacy3.h5", "legacy3", {"seed_generator/seed_generator_state"}),
        ("old_sequential.h5", "old_sequential", set()),
        ("old_functional.h5", "old_functional", set()),
    ],
)
def test_a_whole_model_has_every_variable_of_it(file: str, model: str, not_there: set[str]) -> None:
    expected = golden(model)
    with keras_h5.open_source(GOLDEN / file, verify=True) as source:
        assert set(expected) - set(source.specs) == not_there
        for name in set(expected) - not_there:
            np.testing.assert_array_equal(source.read(name), expected[name], strict=True)
        assert {"model_config", "keras_version", "keras.layers"} <= source.metadata.keys()


def test_weights_alone_have_those_of_the_model() -> None:
    expected = golden("old_sequential")
    with keras_h5.open_source(GOLDEN / "old_sequential_weights.h5", verify=True) as source:
        assert list(source.specs)[:2] == ["frozen/kernel", "frozen/bias"]
        for name in source.specs:
            np.testing.assert_array_equal(source.read(name), expected[name], strict=True)


def test_roles_are_told_by_the_group_and_the_name() -> None:
    with keras_h5.open_source(GOLDEN / "old_sequential.h5", verify=True) as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
    assert roles["iteration"] == "run"
    assert roles["Adam/m/head/kernel"] == "slot"
    assert roles["batch_normalization/moving_mean"] == "model"
    assert roles["head/kernel"] is None


def test_a_name_that_two_layers_have_gets_the_layer_before_it() -> None:
    with keras_h5.open_source(GOLDEN / "old_functional.h5", verify=True) as source:
        shared = [n for n in source.specs if n.endswith("time_distributed/kernel")]
        assert shared[:2] == [
            "time_distributed/kernel",
            "time_distributed_1/time_distributed/kernel",
        ]


def test_a_list_too_long_for_one_attribute(tmp_path: Path) -> None:
    arrays = {f"{'x' * 300}_{i}/kernel": BASE for i in range(400)}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "layer_names" not in file.attrs
        assert len(file.attrs["layer_names0"]) < 400
    with keras_h5.open_source(tmp_path / "m.h5", verify=True) as source:
        assert_same(source, arrays)


def test_a_name_too_long_for_any_attribute(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match="cannot hold 1 names of more than 64000 bytes: 'xxxx"):
        keras_h5.save_source(DictSource({"x" * 70_000: BASE}), tmp_path / "m.h5")


def test_names_of_any_origin_become_layers_and_weights(tmp_path: Path) -> None:
    arrays = {"fc/bias": BASE, "fc/kernel": BASE, "w": BASE, "a/b/gamma": BASE}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert list(file.attrs["layer_names"]) == [b"a/b", b"fc"]
        assert list(file["fc"].attrs["weight_names"]) == [b"fc/kernel", b"fc/bias"]
        assert file["fc/fc/kernel"][...].tolist() == BASE.tolist()
        assert list(file["top_level_model_weights"].attrs["weight_names"]) == [b"w"]


def test_names_that_would_be_a_group_and_a_dataset(tmp_path: Path) -> None:
    names = (
        "a",
        "a/a",
        "a/a/b",
        "a/a/a",
        "optimizer_weights/x",
        "100%",
        "a%2Fa",
        "./a",
        ".",
        "%",
        "",
        "w:0",
    )
    arrays = {name: BASE + i for i, name in enumerate(names)}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5")
    with keras_h5.open_source(tmp_path / "m.h5", verify=True) as source:
        assert_same(source, arrays)


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match=r"cannot hold 1 of these:\n  '\\udc80'  is not Unicode"):
        keras_h5.save_source(DictSource({"\udc80": BASE}), tmp_path / "m.h5")


def test_like_gives_layers_and_configuration(tmp_path: Path) -> None:
    like = GOLDEN / "old_sequential.h5"
    with keras_h5.open_source(like, verify=True) as other:
        arrays = {name: array + 1 for name, array in other.read_all().items()}
        keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5", like=like)
    with h5py.File(tmp_path / "m.h5") as file, h5py.File(like) as old:
        assert file.attrs["model_config"] == old.attrs["model_config"]
        assert list(file["model_weights"].attrs["layer_names"]) == [
            name.encode() for name in old["model_weights"].attrs["layer_names"]
        ]
        assert (file["model_weights/head/head/kernel:0"][...] == arrays["head/kernel"]).all()


def test_like_without_the_optimizer_leaves_it_out(tmp_path: Path) -> None:
    like = GOLDEN / "old_sequential.h5"
    with keras_h5.open_source(like, verify=True) as other:
        arrays = {n: other.read(n) for n, s in other.specs.items() if s.role in (None, "model")}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5", like=like)
    with h5py.File(tmp_path / "m.h5") as file:
        assert "optimizer_weights" not in file


def test_what_does_not_fit_like_is_all_named(tmp_path: Path) -> None:
    arrays = {"head/kernel": BASE, "other": BASE}
    with pytest.raises(CannotHold) as caught:
        keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5", like=GOLDEN / "legacy3.h5")
    text = str(caught.value)
    assert "'sequential/head/bias'" in text
    assert "the source has nothing of that name" in text
    assert "has no place there" in text
    assert list(tmp_path.iterdir()) == []


def test_like_of_another_shape(tmp_path: Path) -> None:
    like = GOLDEN / "old_sequential_weights.h5"
    with keras_h5.open_source(like, verify=True) as other:
        arrays = {**other.read_all(), "head/bias": BASE}
    with pytest.raises(CannotHold, match=r"float32 \(2,\): the source has float32 \(2, 3\)"):
        keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5", like=like)


def test_like_of_another_layout(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"is no \.h5 file in which Keras lists layers"):
        keras_h5.save_source(
            DictSource({"w": BASE}), tmp_path / "m.h5", like=GOLDEN / "bfloat16.weights.h5"
        )


def test_a_model_that_went_through_another_format_comes_back_whole(tmp_path: Path) -> None:
    from warmstart.formats import safetensors

    with keras_h5.open_source(GOLDEN / "old_sequential.h5", verify=True) as source:
        safetensors.save_source(source, tmp_path / "m.safetensors")
        with safetensors.open_source(tmp_path / "m.safetensors", verify=True) as other:
            keras_h5.save_source(other, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file, h5py.File(GOLDEN / "old_sequential.h5") as old:
        assert file.attrs["model_config"] == old.attrs["model_config"]
        assert sorted(paths_in(file)) == sorted(paths_in(old))


def paths_in(file: h5py.File) -> list[str]:
    """Return the path of every dataset."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found


# --- lists that are wrong -------------------------------------------------------------------------


def test_a_layer_that_is_listed_and_not_there(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
    with pytest.raises(CorruptCheckpoint, match="lists a layer 'dense' that it does not hold"):
        keras_h5.open_source(tmp_path / "m.h5", verify=True)


def test_a_weight_that_is_listed_and_not_there(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file.create_group("dense").attrs["weight_names"] = [b"kernel:0"]
    with pytest.raises(CorruptCheckpoint, match="1 weights that it does not hold: 'dense/kernel:0"):
        keras_h5.open_source(tmp_path / "m.h5", verify=True)


def test_a_recorded_structure_that_is_none(tmp_path: Path) -> None:
    source = DictSource({"w": BASE}, metadata={"keras.layers": "[3]"})
    with pytest.raises(CorruptCheckpoint, match=r"metadata keras\.layers are no lists of weights"):
        keras_h5.save_source(source, tmp_path / "m.h5")


def test_lists_that_are_no_text(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = [1.5]
    with pytest.raises(CorruptCheckpoint, match="a text in the file is float, not text"):
        keras_h5.open_source(tmp_path / "m.h5", verify=True)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"\xff"], "S1")
    with pytest.raises(CorruptCheckpoint, match="a text in the file is not UTF-8"):
        keras_h5.open_source(tmp_path / "m.h5", verify=True)


LISTING = """
import sys
from warmstart import formats
source = formats.open_source(sys.argv[1])
print(len(source.specs), *(m in sys.modules for m in ("warmstart.formats.torch", "zipfile")))
"""


def test_listing_imports_no_other_format(tmp_path: Path) -> None:
    """A file whose first bytes say that it is HDF5 is looked at by no other format."""
    with h5py.File(tmp_path / "any name", "w") as file:
        file["w"] = BASE
    command = [sys.executable, "-c", LISTING, str(tmp_path / "any name")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", "False", "False"]


def test_names_like_the_paths_of_keras_3_keep_their_identity(tmp_path: Path) -> None:
    arrays = {"vars": np.ones(2, np.float32), "layers/dense/vars/0": np.ones(3, np.float32)}
    keras_h5.save_source(DictSource(arrays), tmp_path / "m.h5")
    with keras_h5.open_source(tmp_path / "m.h5", verify=True) as source:
        assert_same(source, arrays)
