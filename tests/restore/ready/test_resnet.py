"""Tensorpack's ResNets become torchvision's: names, shapes, and what they compute."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import warmstart as ws

RULES = "tensorpack-resnet-to-torchvision"
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class Block(nn.Module):
    """torchvision's BasicBlock below 50 layers, its Bottleneck from there."""

    def __init__(self, inputs, width, stride, depth):
        super().__init__()
        sizes = [(3, stride, width), (3, 1, width)]
        if depth >= 50:
            sizes = [(1, 1, width), (3, stride, width), (1, 1, width * 4)]
        self.count, before = len(sizes), inputs
        for i, (size, step, features) in enumerate(sizes, 1):
            conv = nn.Conv2d(before, features, size, step, size // 2, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", nn.BatchNorm2d(features))
            before = features
        self.downsample = None
        if stride != 1 or inputs != before:
            conv = nn.Conv2d(inputs, before, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(before))

    def forward(self, x):
        short = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.count + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = F.relu(x) if i < self.count else x
        return F.relu(x + short)


class ResNet(nn.Module):
    """torchvision.models.resnet.ResNet."""

    def __init__(self, depth):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, times = 64, 4 if depth >= 50 else 1
        for stage, count in enumerate(BLOCKS[depth], 1):
            width = 32 * 2**stage
            blocks = []
            for block in range(count):
                stride = 2 if block == 0 and stage > 1 else 1
                blocks.append(Block(inputs, width, stride, depth))
                inputs = width * times
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("depth", BLOCKS)
def test_every_variable_finds_its_place(depth, tf, resnet):
    resnet(tf, depth).logits(tf.placeholder(tf.float32, (1, 64, 64, 3)))
    source = {
        variable.op.name: np.broadcast_to(np.float32(0), variable.shape.as_list())
        for variable in tf.global_variables()
    }
    with torch.device("meta"):
        module = ResNet(depth)
    plan = ws.DictRestore(source, rules=RULES).plan(module)
    counters = {name for name in module.state_dict() if name.endswith("num_batches_tracked")}
    assert plan.misfits == ()
    assert set(plan.matches) == set(module.state_dict()) - counters
    assert {match.old for match in plan.matches.values()} == set(source)


@pytest.mark.parametrize("depth", [18, 50])
def test_outputs_are_those_of_the_graph(depth, tf, resnet, computed, tmp_path):
    image = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    logits = resnet(tf, depth).logits(tf.constant(image))
    values, expected = computed(tf, logits)
    ws.save_vars(values, tmp_path / "resnet.npz")
    module = ResNet(depth).eval()
    report = ws.SmartInit(tmp_path / "resnet.npz", rules=RULES).init(module)
    assert report.missing == report.unused == ()
    with torch.no_grad():
        found = module(torch.from_numpy(image).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_file_is_converted_without_either_framework(tf, resnet, draw, tmp_path):
    resnet(tf, 18).logits(tf.placeholder(tf.float32, (1, 64, 64, 3)))
    ws.save_vars(draw(tf), tmp_path / "resnet.npz")
    ws.convert(tmp_path / "resnet.npz", tmp_path / "resnet.safetensors", rules=RULES)
    found = ws.load_vars(tmp_path / "resnet.safetensors")
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in ResNet(18).state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert {name: array.shape for name, array in found.items()} == expected


def test_the_way_back_gives_what_there_was(tf, resnet, draw, there_and_back):
    resnet(tf, 50).logits(tf.placeholder(tf.float32, (1, 64, 64, 3)))
    values = draw(tf)
    again = there_and_back(values, RULES)
    assert again.keys() == values.keys()
    assert all(np.array_equal(again[name], values[name]) for name in values)
