"""Tensors of every dtype and layout as arrays, and back in place."""

import ml_dtypes
import numpy as np
import pytest
import torch

from warmstart.errors import CheckpointError, RestoreMismatch, UnsupportedCheckpoint
from warmstart.sessions.torch.arrays import (
    DTYPES,
    array_of,
    tensor_of,
    tensor_spec,
    write,
)


def patterned(dtype, shape):
    """Return a tensor of *dtype* with all kinds of bit patterns."""
    count = int(np.prod(shape)) * dtype.itemsize
    raw = torch.arange(count, dtype=torch.int64).mul(37).to(torch.uint8)
    return (raw % 2 == 1).reshape(shape) if dtype is torch.bool else raw.view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_keeps_its_bits_both_ways(dtype):
    tensor = patterned(dtype, (2, 3))
    array = array_of("w", tensor)
    assert array.dtype.name == DTYPES[dtype]
    assert array.tobytes() == bytes(tensor.view(torch.uint8).flatten().tolist())
    target = torch.zeros(2, 3, dtype=dtype)
    write("w", target, array)
    assert array_of("w", target).tobytes() == array.tobytes()
    assert tensor_of(array).dtype is dtype


def test_half_precision_means_the_same_number():
    assert array_of("w", torch.tensor([1.5], dtype=torch.bfloat16))[0] == ml_dtypes.bfloat16(1.5)
    assert array_of("w", torch.tensor([1.5], dtype=torch.float8_e5m2))[0] == 1.5


LAYOUTS = {
    "scalar": lambda: torch.tensor(3.0),
    "empty": lambda: torch.zeros(0, 4),
    "transposed": lambda: torch.arange(6.0).reshape(2, 3).t(),
    "strided": lambda: torch.arange(12.0)[::3],
    "channels-last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "bfloat16-transposed": lambda: torch.ones(2, 3, dtype=torch.bfloat16).t(),
    "expanded": lambda: torch.tensor([1.0, 2.0]).expand(3, 2),
    "conjugate": lambda: torch.tensor([[1 + 2j, 3]]).conj(),
    "negative": lambda: torch.tensor([1 + 2j, 3]).conj().imag,
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_read_in_c_order_and_written_in_place(make):
    tensor = make()
    array = array_of("w", tensor)
    assert array.flags.c_contiguous
    assert array.shape == tuple(tensor.shape)
    assert array.tolist() == tensor.tolist()
    place, changed = (tensor.data_ptr(), tensor.stride()), array + 1
    write("w", tensor, changed)
    assert (tensor.data_ptr(), tensor.stride()) == place
    assert tensor.tolist() == changed.tolist()


def test_a_plain_tensor_is_not_copied():
    tensor = torch.zeros(3)
    tensor += 1
    assert np.shares_memory(array_of("w", tensor), tensor.numpy())


@pytest.mark.parametrize(
    "array",
    [np.arange(3.0)[::-1], np.arange(3.0, dtype=">f8"), np.frombuffer(bytes(24), "f8")],
    ids=["reversed", "big-endian", "read-only"],
)
def test_arrays_that_torch_itself_does_not_take(array):
    target = torch.zeros(3, dtype=torch.float64)
    write("w", target, array)
    assert target.tolist() == array.tolist()
    assert tensor_of(array).tolist() == array.tolist()


def test_autograd_sees_the_change():
    weight = torch.nn.Parameter(torch.ones(2))
    loss = (weight * weight).sum()
    write("w", weight, np.zeros(2, np.float32))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_tensor_made_for_inference_is_written():
    with torch.inference_mode():
        tensor = torch.zeros(2)
    write("w", tensor, np.ones(2, np.float32))
    assert tensor.tolist() == [1, 1]


EXPANDED = {
    "rows": (lambda base: base.expand(3, 2), [[1, 2], [1, 2], [1, 2]]),
    "columns": (lambda base: base[:, None].expand(2, 3), [[1, 1, 1], [2, 2, 2]]),
}


@pytest.mark.parametrize(("make", "values"), EXPANDED.values(), ids=EXPANDED)
def test_an_expanded_tensor_keeps_its_memory_while_that_can_hold_the_values(make, values):
    base = torch.zeros(2)
    write("w", torch.nn.Parameter(make(base)), np.float32(values))
    assert base.tolist() == [1, 2]
    assert make(base).tolist() == values


@pytest.mark.parametrize("shape", [(3, 2), (2, 3), (3, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_expanded_tensor_gets_memory_of_its_own_for_values_that_differ(shape, dtype):
    base = torch.zeros((), dtype=dtype)
    weight = torch.nn.Parameter(base.expand(shape))
    values = array_of("w", torch.arange(6, dtype=dtype).reshape(shape))
    write("w", weight, values)
    np.testing.assert_array_equal(array_of("w", weight), values)
    assert base.item() == 0
    assert weight.requires_grad


@pytest.mark.parametrize("array", [np.zeros(2, np.float32), np.zeros((1, 3)), np.float32(1)])
def test_nothing_is_cast_or_broadcast(array):
    with pytest.raises(RestoreMismatch, match=r"'w' is float32 \(1, 3\); it cannot take float"):
        write("w", torch.zeros(1, 3), np.asarray(array))


def test_what_no_array_can_hold_is_refused_by_name():
    sparse = torch.eye(2).to_sparse()
    with pytest.raises(UnsupportedCheckpoint, match=r"'w' is a Tensor of layout torch.sparse_coo"):
        tensor_spec("w", sparse, "model")
    with pytest.raises(UnsupportedCheckpoint, match=r"'w' is torch\.bits8, which no"):
        tensor_spec("w", torch.empty(2, dtype=torch.bits8), "model")
    with pytest.raises(UnsupportedCheckpoint, match="PyTorch has no tensors of int4"):
        tensor_of(np.zeros(2, ml_dtypes.int4))


def test_a_tensor_without_values_is_refused_by_name():
    with pytest.raises(CheckpointError, match=r"'w' is on the meta device.*to_empty"):
        array_of("w", torch.zeros(2, device="meta"))
    with pytest.raises(CheckpointError, match="'w' has no shape yet: run one batch"):
        array_of("w", torch.nn.UninitializedParameter())
