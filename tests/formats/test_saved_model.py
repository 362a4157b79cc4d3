"""SavedModel folders: their variables are a bundle at a fixed place inside."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.errors import CheckpointNotFound
from warmstart.formats import locate

v1 = tf.compat.v1


class Scaled(tf.Module):
    """A model with one variable and one signature."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = tf.Variable([2.0, 3.0], name="scale")

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return x * self.scale


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel of TensorFlow 2."""
    path = tmp_path_factory.mktemp("saved") / "model"
    tf.saved_model.save(Scaled(), str(path))
    return path


@pytest.mark.parametrize("given", [".", "saved_model.pb", "variables", "variables/variables.index"])
def test_the_variables_are_found_from_every_part_of_it(folder: Path, given: str) -> None:
    assert locate(folder / given) == ("tf-bundle", folder / "variables" / "variables")
    with ws.open(folder / given) as source:
        assert source.read("scale").tolist() == [2, 3]


def test_one_of_tensorflow_1_has_plain_names(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        kernel = v1.get_variable("fc/kernel", [2, 3])
        x = v1.placeholder(tf.float32, [None, 2], name="x")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(
            session, str(tmp_path / "m"), {"x": x}, {"y": tf.matmul(x, kernel)}
        )
        expected = session.run(kernel)
    with ws.open(tmp_path / "m") as source:
        assert list(source.specs) == ["fc/kernel"]
        assert np.array_equal(source.read("fc/kernel"), expected)


def test_one_without_variables(tmp_path: Path) -> None:
    module = tf.Module()
    module.double = tf.function(lambda x: 2 * x, input_signature=[tf.TensorSpec([])])
    tf.saved_model.save(module, str(tmp_path / "m"))
    for file in (tmp_path / "m" / "variables").iterdir():  # TensorFlow 2 saves its graph of objects
        file.unlink()
    with pytest.raises(
        CheckpointNotFound, match=r"/m is a SavedModel without variables: .*--graph"
    ):
        ws.open(tmp_path / "m")


def test_half_of_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pbtxt").touch()
    data = tmp_path / "variables" / "variables.data-00000-of-00001"
    data.touch()
    with pytest.raises(CheckpointNotFound, match=r"variables\.index, the index .*, is not: both"):
        ws.open(tmp_path)
    data.rename(tmp_path / "variables" / "variables.index")
    with pytest.raises(CheckpointNotFound, match=r"is there, but no data file of the same bundle"):
        ws.open(tmp_path / "saved_model.pbtxt")
