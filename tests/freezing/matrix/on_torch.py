"""The matrix on PyTorch."""

import numpy as np
import torch
from torch import nn

import warmstart as ws

from .cells import Engine, Names, Recipe, batches

torch.set_num_threads(1)

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01, weight_decay=0.1),
}
BY_HAND = "`requires_grad = False`"
AND_ZEROS = "`requires_grad = False` with `zero_grad(set_to_none=False)`"
TIMES_ZERO = "a hook that multiplies gradients by 0"
DETACHED = "`.detach()` of the backbone's output"
DEFAULT = "`freeze_variables()`"


class Net(nn.Module):
    def __init__(self, batch_norm, backbone, detached=False):
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        with backbone:
            layers = [nn.Linear(4, 4), *([nn.BatchNorm1d(4)] if batch_norm else [])]
            self.backbone = nn.Sequential(*layers)
        self.head = nn.Linear(4, 2)
        self.detached = detached

    def forward(self, ids):
        hidden = self.backbone(self.embedding(ids))
        return self.head((hidden.detach() if self.detached else hidden).tanh())


class Torch(Engine):
    name = "PyTorch"
    recipes = (BY_HAND, AND_ZEROS, TIMES_ZERO, DETACHED, DEFAULT)

    def names(self, batch_norm):
        norm = ("backbone.1.weight", "backbone.1.bias") if batch_norm else ()
        statistics = ("running_mean", "running_var", "num_batches_tracked") if batch_norm else ()
        return Names(
            "embedding.weight",
            ("backbone.0.weight", "backbone.0.bias", *norm),
            tuple(f"backbone.1.{leaf}" for leaf in statistics),
            ("head.weight", "head.bias"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs):
        torch.manual_seed(0)
        net = Net(batch_norm, backbone)
        return ws.TorchModel(
            net,
            loss=nn.functional.mse_loss,
            optimizer=OPTIMIZERS[optimizer](net.parameters()),
            gradprocs=gradprocs,
        )

    def recipe(self, recipe, optimizer):
        torch.manual_seed(0)
        context = ws.freeze_variables(stop_gradient=recipe == DEFAULT)
        net = Net(True, context, detached=recipe == DETACHED)
        moves = OPTIMIZERS[optimizer](net.parameters())
        source = batches()

        def train(steps):
            for _ in range(steps):
                ids, target = map(torch.from_numpy, next(source))
                moves.zero_grad(set_to_none=recipe != AND_ZEROS)
                nn.functional.mse_loss(net(ids), target).backward()
                moves.step()

        def apply():
            for parameter in net.backbone.parameters():
                if recipe in (BY_HAND, AND_ZEROS):
                    parameter.requires_grad = False
                if recipe == TIMES_ZERO:
                    parameter.register_hook(lambda gradient: gradient * 0)

        def read():
            return {name: np.array(value) for name, value in net.state_dict().items()}

        return Recipe(apply, train, read)


ENGINE = Torch()
