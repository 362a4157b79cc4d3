"""tf.data in the training loop."""

from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf

from warmstart.errors import ResumeError
from warmstart.sessions.tf2.datasets import TFData
from warmstart.testing.data import DataContract
from warmstart.train.data import endless, place_in, placed
from warmstart.train.resume import no_place


def dataset(seed: int | None = 3, examples: int = 14) -> Any:
    def noisy(index: Any) -> Any:
        return index, tf.random.stateless_uniform([], tf.stack([index, index]))

    shuffled = tf.data.Dataset.range(examples).shuffle(8, seed=seed)
    return shuffled.map(noisy, num_parallel_calls=2).batch(3).prefetch(2)


class TestDataset(DataContract):
    batches = 8  # 5 a pass

    def make(self) -> Any:
        return placed(dataset())


class TestIterator(DataContract):
    batches = 5

    def make(self) -> Any:
        return placed(iter(dataset()))


class TestInfinite(DataContract):
    batches = 7

    def make(self) -> Any:
        return placed(tf.data.Dataset.range(6).repeat().shuffle(4, seed=1).batch(4))


def test_each_pass_has_every_example_once_in_another_order() -> None:
    data = placed(dataset())
    assert len(data) == 5
    batches = endless(data)
    seen = [int(i) for _ in range(10) for i in next(batches)[0]]
    assert sorted(seen[:14]) == sorted(seen[14:]) == list(range(14))
    assert seen[:14] != seen[14:]


def test_a_length_that_tensorflow_does_not_know_is_none() -> None:
    with pytest.raises(TypeError, match="infinite"):
        len(placed(tf.data.Dataset.range(6).repeat()))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: dataset(seed=4), r"here .*seeds=\[\(\d+, 4\)\]; there .*seeds=\[\(\d+, 3\)\]"),
        (lambda: dataset(examples=20), "here .*batches=7, .*; there .*batches=5"),
        (lambda: dataset().take(5), "the dataset is not made as the checkpoint's was: "),
    ],
)
def test_a_place_in_other_data_is_refused(other: Any, message: str) -> None:
    data = placed(dataset())
    next(endless(data))
    with pytest.raises(ResumeError, match=message):
        placed(other()).load_state(data.state())


@pytest.fixture(autouse=True)
def _no_seed_for_all() -> Iterator[None]:
    """Let TensorFlow have no seed for all, whatever tests before this one have set."""
    tf.random.set_seed(None)
    yield
    tf.random.set_seed(None)


def undetermined() -> Any:
    options = tf.data.Options()
    options.deterministic = False
    return tf.data.Dataset.range(3).with_options(options)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: dataset(seed=None), r"it is shuffled without a seed: dataset\.shuffle\(size, s"),
        (undetermined, "by its options it need not keep its order"),
        (
            lambda: tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=SPEC),
            r"TensorFlow cannot save its iterator: PyFunc is stateful\.",
        ),
        (
            lambda: tf.data.Dataset.range(3).map(lambda x: tf.random.uniform([])),
            r"TensorFlow cannot save its iterator: RandomUniform is stateful\.",
        ),
    ],
)
def test_data_without_a_place_is_told_why(make: Any, reason: str) -> None:
    data = placed(make())
    assert place_in(data) is None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(no_place(data))


def test_a_dataset_in_a_graph_is_the_graphs() -> None:
    with tf.Graph().as_default():
        assert "belongs to the graph; feed batches" in no_place(tf.data.Dataset.range(3))


def test_a_seed_for_all_of_tensorflow_will_do() -> None:
    tf.random.set_seed(7)
    assert isinstance(placed(dataset(seed=None)), TFData)


SPEC = tf.TensorSpec([], tf.int64)
