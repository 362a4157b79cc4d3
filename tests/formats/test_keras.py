"""Weights and models of Keras 3: names, the ways in, and what is wrong with a file."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from warmstart import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.formats import keras
from warmstart.formats.hdf5.source import Hdf5Source
from warmstart.formats.keras.naming import Model, named
from warmstart.testing.reading import ReadingContract

GOLDEN = Path(__file__).parents[1] / "golden" / "keras"


class TestKeras(ReadingContract):
    """The promises of ReadingContract, for weights alone."""

    format = keras
    #: HDF5 loops for ever on some damage: see test_keras_h5, where a child reads it.
    test_every_flipped_byte_is_read_or_refused = None  # type: ignore[assignment]

    def sample(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        return Path(shutil.copy(GOLDEN / "bfloat16.weights.h5", folder))

    def petabyte(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("vars/0", (1 << 50,), "u1", chunks=(1 << 20,))


class TestKerasArchive(TestKeras):
    """The same for a whole model, whose members are in a zip archive."""

    def sample(self, folder: Path) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / "m.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
            archive.writestr("config.json", '{"class_name": "Sequential", "config": {}}')
            archive.write(GOLDEN / "bfloat16.weights.h5", "model.weights.h5")
        return path


def opened(name: str, **options: Any) -> Hdf5Source:
    """Return a golden file, open."""
    source = keras.open_source(GOLDEN / name, verify=True, **options)
    assert isinstance(source, Hdf5Source)
    return source


def golden(name: str) -> dict[str, np.ndarray]:
    """Return what the model held that was saved, by the names it showed."""
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key.replace("\\", "/"): arrays[key] for key in arrays}


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["sequential", "functional", "old_sequential", "old_functional"])
def test_a_model_with_its_configuration_has_every_name(model: str) -> None:
    expected = golden(model)
    with opened(f"{model}.keras") as source:
        known = {*source.specs, *source.aliases}
        absent = set(expected) - known
        assert {name.rpartition("/")[2] for name in absent} <= {"seed_generator_state"}
        for name in set(expected) - absent:
            np.testing.assert_array_equal(source.read(name), expected[name], strict=True)
        found = {source.aliases.get(name, name) for name in expected}
        extra = set(source.specs) - found
        assert all(name.startswith("metrics/mean/") for name in extra)  # of Keras 2


@pytest.mark.parametrize("model", ["sequential", "functional", "subclassed"])
def test_weights_alone_have_every_name_of_a_known_kind(model: str) -> None:
    expected = golden(model)
    with opened(f"{model}.weights.h5") as source:
        known = {**source.aliases, **{name: name for name in source.specs}}
        for name in set(expected) & set(known):
            np.testing.assert_array_equal(source.read(name), expected[name], strict=True)
        unknown = set(source.specs) - {known[name] for name in set(expected) & set(known)}
        assert all(name.rpartition("/")[2].isdigit() for name in unknown)
        numbered = {name.rpartition("/")[0] for name in unknown}
    assert numbered <= {"optimizer", "", "time_distributed/layer"}


def test_a_variable_is_named_by_its_place_and_has_its_path_and_keras_name_as_aliases() -> None:
    with opened("sequential.keras") as source:
        aliases = {a for a, name in source.aliases.items() if name == "head/kernel"}
        assert aliases == {"layers/dense_1/vars/0", "sequential/head/kernel"}
        assert source.read("sequential/head/kernel").shape == (3, 2)
        assert aliases <= set(source.derived)


def test_what_keras_named_by_counting_is_counted_in_the_model() -> None:
    shapes = {f"layers/{group}/vars/{i}": (2,)
              for group in ("dense", "dense_1", "dense_2", "conv2d") for i in (0, 1)}  # fmt: skip
    groups = {"layers/dense": "dense_4", "layers/dense_1": "head", "layers/dense_2": "dense_5",
              "layers/conv2d": "dense", "": "functional_3", "layers/input_layer": ""}  # fmt: skip
    found = named(shapes, Model(groups))
    kernels = {path: name for path, name in found.names.items() if path.endswith("/0")}
    assert kernels == {
        "layers/dense/vars/0": "layers/dense/vars/0",  # a convolution was given its name
        "layers/dense_1/vars/0": "head/kernel",
        "layers/dense_2/vars/0": "dense_1/kernel",
        "layers/conv2d/vars/0": "layers/conv2d/vars/0",
    }
    assert found.aliases["dense_5/kernel"] == "dense_1/kernel"


def test_roles_are_told_by_the_configuration() -> None:
    with opened("sequential.keras") as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
    assert roles["head/kernel"] == "trainable"
    assert roles["frozen/kernel"] == "model"
    assert roles["batch_normalization/moving_mean"] == "model"
    assert roles["head/bias/velocity"] == "slot"
    assert roles["optimizer/iteration"] == roles["optimizer/learning_rate"] == "run"


def test_layers_in_lists_and_dicts_have_their_names() -> None:
    with opened("subclassed.weights.h5") as source:
        paths = {path: name for name, path in source.paths.items()}
        aliases = dict(source.aliases)
    assert paths["blocks/container/dense_1/vars/0"] == "blocks/container/dense_1/kernel"
    assert aliases["net/dense_3/kernel"] == "blocks/container/dense_1/kernel"
    assert paths["by_name/conv1d/vars/1"] == "by_name/conv1d/bias"
    assert aliases["net/conv1d/bias"] == "by_name/conv1d/bias"
    assert (paths["vars/0"], aliases["net/0"]) == ("0", "0")


def test_without_any_name_paths_serve() -> None:
    shapes = {"layers/dense/vars/0": (2, 2), "layers/dense/vars/1": (2,), "own/vars/0": (3,),
              "layers/lstm/cell/vars/0": (2, 8), "layers/lstm/cell/vars/1": (2, 8),
              "layers/lstm/cell/vars/2": (8,), "metrics/mean/vars/0": (), "free": ()}  # fmt: skip
    groups = dict.fromkeys(("layers/dense", "own", "layers/lstm", "layers/lstm/cell"), "")
    found = named(shapes, Model(groups)).names
    assert found["layers/dense/vars/1"] == "dense/bias"
    assert found["layers/lstm/cell/vars/1"] == "lstm/cell/recurrent_kernel"
    assert (found["own/vars/0"], found["free"]) == ("own/0", "free")


def test_names_that_two_variables_would_have_are_paths() -> None:
    shapes = {"a/vars/0": (2,), "_a/vars/0": (2,)}
    found = named(shapes, Model({"": "net", "a": "same", "_a": "same"}))
    assert found.names == {path: path for path in shapes}
    assert found.aliases == {}


def test_bfloat16_is_read_as_what_it_is() -> None:
    with opened("bfloat16.weights.h5") as source:
        spec = source.specs["dense/kernel"]
        assert (spec.dtype, spec.shape) == ("bfloat16", (2, 2))
        assert np.isfinite(source.read(spec.name).astype(np.float32)).all()


# --- ways in --------------------------------------------------------------------------------------


def test_like_lends_its_names() -> None:
    expected = golden("sequential")
    with opened("sequential.weights.h5", like=GOLDEN / "sequential.keras") as source:
        assert source.specs["frozen/bias"].role == "model"
        slot = expected["adam/sequential_head_kernel_momentum"]
        np.testing.assert_array_equal(source.read("head/kernel/momentum"), slot, strict=True)


def test_like_of_another_model() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="has no variable at any path of this file"):
        opened("bfloat16.weights.h5", like=GOLDEN / "subclassed.weights.h5")
    with pytest.raises(UnsupportedCheckpoint, match=r"'layers/dense/vars/0' \(2, 2\) here, \(4, 3"):
        opened("bfloat16.weights.h5", like=GOLDEN / "sequential.keras")


def test_shards_are_one() -> None:
    with opened("sequential.weights.h5") as whole, opened("sharded.weights.json") as source:
        assert set(source.specs) == set(whole.specs)
        assert sorted(source.read_order()) == sorted(source.specs)
        expected = golden("sharded")
        assert set(source.aliases) & set(expected)
        for name in set(source.aliases) & set(expected):
            np.testing.assert_array_equal(source.read(name), expected[name], strict=True)


def test_a_folder_of_the_members_is_a_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(GOLDEN / "sequential.keras") as archive:
        archive.extractall(tmp_path / "model")
    found = keras.locate(tmp_path / "model")
    assert found == tmp_path / "model"
    with keras.open_source(found, verify=True) as source, opened("sequential.keras") as other:
        assert dict(source.specs) == dict(other.specs)


def test_a_compressed_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    with (
        zipfile.ZipFile(GOLDEN / "sequential.keras") as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with keras.open_source(path, verify=True) as source, opened("sequential.keras") as other:
        assert dict(source.specs) == dict(other.specs)
        np.testing.assert_array_equal(source.read("head/bias"), other.read("head/bias"))


def test_an_archive_is_known_by_its_members(tmp_path: Path) -> None:
    shutil.copy(GOLDEN / "sequential.keras", tmp_path / "anything")
    assert keras.locate(tmp_path / "anything") == tmp_path / "anything"
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert keras.locate(tmp_path / "other.zip") is None
    assert keras.locate(tmp_path) is None


# --- files that are wrong -------------------------------------------------------------------------


def archive_of(path: Path, **members: bytes) -> Path:
    """Write an archive whose members are a model's but for *members*."""
    with zipfile.ZipFile(GOLDEN / "sequential.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.partition(".")[0], old.read(name)))
    return path


def test_an_archive_without_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(UnsupportedCheckpoint, match=r"holds no model\.weights\.h5, .*weights\.npz"):
        keras.open_source(tmp_path / "m.keras", verify=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_a_member_twice(tmp_path: Path) -> None:
    # one reader would have shown the first, another the last
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("config.json", "[]")
    with pytest.raises(CorruptCheckpoint, match="members of one name"):
        keras.open_source(tmp_path / "m.keras", verify=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", r"config\.json is not JSON"),
        (b"[" * 100_000, r"config\.json is not JSON"),  # would have ended in a RecursionError
        (b"[]", r"config\.json describes no model"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_configuration_that_is_none(tmp_path: Path, config: bytes, message: str) -> None:
    path = archive_of(tmp_path / "m.keras", config=config)
    with pytest.raises(CorruptCheckpoint, match=message):
        keras.open_source(path, verify=True)


def test_a_configuration_of_models_in_models_in_models(tmp_path: Path) -> None:
    # would have ended in a RecursionError
    config: dict[str, Any] = {"class_name": "Dense", "config": {}}
    for _ in range(150):
        config = {"class_name": "TimeDistributed", "config": {"layer": config}}
    path = archive_of(tmp_path / "m.keras", config=json.dumps(config).encode())
    with pytest.raises(CorruptCheckpoint, match="layers more than 100 deep"):
        keras.open_source(path, verify=True)


def index_of(folder: Path, weight_map: object) -> Path:
    """Write an index, and beside it two shards of the golden ones."""
    folder.mkdir(exist_ok=True)
    for name in ("sharded_00000.weights.h5", "sharded_00001.weights.h5"):
        shutil.copy(GOLDEN / name, folder)
    index = folder / "sharded.weights.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_an_index_that_leads_outside(tmp_path: Path) -> None:
    # would have shown another model's weights, or told whether a file is there
    index = index_of(tmp_path, {"/vars": ["../secret.h5", "/etc/passwd"]})
    with pytest.raises(CorruptCheckpoint, match=r"outside its own folder: '\.\./secret\.h5', '/et"):
        keras.open_source(index, verify=True)


def test_an_index_of_shards_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"1 of 1 shards are missing: 'gone\.h5'"):
        keras.open_source(index_of(tmp_path, {"/vars": "gone.h5"}), verify=True)


@pytest.mark.parametrize("weight_map", [None, {}, []])
def test_an_index_without_a_map(tmp_path: Path, weight_map: object) -> None:
    with pytest.raises(CorruptCheckpoint, match="has no weight_map from groups to files"):
        keras.open_source(index_of(tmp_path, weight_map), verify=True)


def test_an_index_of_what_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="weight_map of the index names what are no files"):
        keras.open_source(index_of(tmp_path, {"/vars": [3]}), verify=True)


def test_an_index_that_the_shards_contradict(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"/layers/none/vars": "sharded_00000.weights.h5"})
    with pytest.raises(CorruptCheckpoint, match="index and the shards do not agree") as caught:
        keras.open_source(index, verify=True)
    assert "'layers/none/vars' is not in sharded_00000.weights.h5, as the" in str(caught.value)
    assert "is in sharded_00000.weights.h5, which the index does not say" in str(caught.value)


def test_a_variable_in_two_shards(tmp_path: Path) -> None:
    index = index_of(tmp_path, {"/vars": ["a.h5", "b.h5"]})
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["vars/0"] = np.ones(2)
    with pytest.raises(CorruptCheckpoint, match="a variable is in more than one of the shards"):
        keras.open_source(index, verify=True)
