"""The session on a PyTorch module keeps the contract, with each kind of optimizer state."""

import torch
from torch import nn

from warmstart import session_for
from warmstart.testing import SessionContract


class Tied(nn.Module):
    """Batch norm, dropout with its random state, and a weight that is used twice."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(3, 4, bias=False)
        self.norm = nn.BatchNorm1d(4)
        self.decode = nn.Linear(4, 3, bias=False)
        self.decode.weight = nn.Parameter(self.encode.weight.detach().T.clone())
        self.again = nn.Linear(3, 4, bias=False)
        self.again.weight = self.encode.weight
        self.dropout = nn.Dropout(0.2)

    def forward(self, x):
        return self.decode(self.dropout(self.norm(self.encode(x)))) + self.again(x).sum()


class Torch(SessionContract):
    optimizer: type[torch.optim.Optimizer]
    options: dict[str, float]

    def make(self):
        torch.manual_seed(0)
        module = Tied()
        optimizer = self.optimizer(module.parameters(), lr=0.01, **self.options)
        inputs = torch.arange(24.0).reshape(8, 3) / 10

        def train(steps):
            for _ in range(steps):
                optimizer.zero_grad()
                (module(inputs) - inputs).square().sum().backward()
                optimizer.step()

        return session_for(module, optimizer=optimizer), train


class TestMomentum(Torch):
    optimizer = torch.optim.SGD
    options = {"momentum": 0.9, "weight_decay": 0.01}


class TestAdam(Torch):
    optimizer = torch.optim.Adam
    options = {"weight_decay": 0.01}


class TestAdamW(Torch):
    optimizer = torch.optim.AdamW
    options = {"weight_decay": 0.01, "amsgrad": True}
