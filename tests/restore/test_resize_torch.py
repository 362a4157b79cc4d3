"""Interpolation is PyTorch's, and refuses what is none."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from warmstart.errors import RuleError
from warmstart.restore.resize import Resize
from warmstart.spec import TensorSpec, spec_of

SIZES = [(5, 9), (9, 5), (7, 20), (1, 3), (3, 1), (4, 4)]


def made(array, shape, **options):
    step = Resize(shape, **options)
    found = step.value([array])
    assert spec_of("w", found) == step.spec([spec_of("w", array)])
    return found


@pytest.mark.parametrize(("n", "size"), SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_linear(n, size, dtype):
    x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(dtype)
    columns = torch.tensor(x).permute(0, 2, 1).float()
    expected = functional.interpolate(columns, size=size, mode="linear", align_corners=False)
    found = made(x, (2, size, 3))
    assert np.allclose(found, expected.permute(0, 2, 1), atol=1e-2 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize(("n", "size"), SIZES)
@pytest.mark.parametrize(("cubic", "mode"), [(True, "bicubic"), (False, "bilinear")])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_grid_behind_tokens(n, size, cubic, mode, first):
    x = np.random.default_rng(n).normal(size=(1, first + n * n, 3)).astype(np.float32)
    grid = torch.tensor(x[:, first:]).reshape(1, n, n, 3).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, size=(size, size), mode=mode, align_corners=False)
    found = made(x, (1, first + size * size, 3), cubic=cubic, grid=first) if n != size else x
    assert found[:, :first].tolist() == x[:, :first].tolist()
    whole = expected.permute(0, 2, 3, 1).reshape(1, size * size, 3)
    assert np.allclose(found[:, first:], whole, atol=1e-5)


def test_cubic_along_each_axis():
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    expected = functional.interpolate(torch.tensor(x)[None, None], (9, 3), mode="bicubic")
    assert np.allclose(made(x, (9, 3), cubic=True), expected[0, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "step", "message"),
    [
        (("int64", (4, 3)), Resize((6, 3)), r"to \(6, 3\) cannot be made of 'w', which is int64"),
        (("float32", (4,)), Resize((6, 3)), r"cannot be made of 'w', which is float32 \(4,\)"),
        (("float32", (0, 3)), Resize((6, 3)), r"which is float32 \(0, 3\)"),
        (("float32", (5, 3)), Resize((17, 3), grid=0),
         r"takes one axis of 0 places and a square grid; found \(5, 3\) for \(17, 3\)"),
        (("float32", (5, 5)), Resize((17, 17), cubic=True, grid=1), "cubic grid 1 takes one axis"),
    ],
)  # fmt: skip
def test_what_cannot_be_interpolated(spec, step, message):
    with pytest.raises(RuleError, match=message):
        step.spec([TensorSpec("w", *spec)])
