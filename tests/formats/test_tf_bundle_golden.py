"""A bundle that TensorFlow wrote, kept in tests/golden, read without TensorFlow."""

from pathlib import Path

import ml_dtypes
import numpy as np

from warmstart import formats

FOLDER = Path(__file__).parents[1] / "golden" / "tf_bundle"

EXPECTED = {
    "emb": np.ones((5, 2), np.float32),
    "empty": np.zeros((0, 4), np.int64),
    "flags": np.array([True, False, True]),
    "global_step": np.array(0, np.int64),
    "layer/bias": np.array([1.5, -2.5], ml_dtypes.bfloat16),
    "layer/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "words": np.array([b"hello", b"", b"tf"], object),
    "z": np.array([1 + 2j], np.complex64),
}


def test_the_bundle_that_tensorflow_wrote() -> None:
    with formats.open_source(FOLDER) as source:
        assert list(source.specs) == list(EXPECTED)
        for name, array in EXPECTED.items():
            np.testing.assert_array_equal(source.read(name), array, strict=True)
