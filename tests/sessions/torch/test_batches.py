"""Arrays in a batch become tensors."""

from collections import namedtuple

import ml_dtypes
import numpy as np
import torch
from torch import nn

from warmstart.sessions.torch.batches import first_tensor, tensors

CPU = torch.device("cpu")
Batch = namedtuple("Batch", "x y")


def test_arrays_however_deep_become_tensors():
    array, tensor = np.arange(3.0), torch.ones(2)
    batch = {"a": [array, (tensor, "text")], "b": Batch(array, 3)}
    found = tensors(batch, CPU)
    assert found["a"][0].tolist() == [0, 1, 2]
    assert found["a"][1][0] is tensor
    assert found["a"][1][1] == "text"
    assert isinstance(found["b"], Batch)
    assert found["b"].x.dtype is torch.float64


def test_an_array_is_shared_where_torch_can_and_else_copied():
    array = np.zeros(3, np.float32)
    assert np.shares_memory(tensors(array, CPU).numpy(), array)
    array.flags.writeable = False
    others = [array, np.arange(3)[::-1], np.arange(3, dtype=">i4"), np.float32(2), np.bool_(True)]
    for other in others:
        assert tensors(other, CPU).tolist() == other.tolist()
    assert tensors(np.zeros(1, ml_dtypes.bfloat16), CPU).dtype is torch.bfloat16


def test_everything_goes_where_the_module_is():
    device = first_tensor(nn.Linear(1, 1, device="meta")).device
    assert all(t.is_meta for t in tensors((np.zeros(2), torch.zeros(2)), device))
    assert first_tensor(nn.BatchNorm1d(1, affine=False, device="meta")).is_meta
    assert first_tensor(nn.Identity()).device == CPU
