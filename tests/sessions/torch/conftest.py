"""Small modules and optimizers that the tests of the PyTorch session share."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, foreach=False),
    "adam-foreach": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.1, foreach=True),
    "adamw-loop": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=False),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, foreach=True),
    "adamw-fused": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1, weight_decay=0.1),
    "lbfgs": lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=4),
}


class Decaying(torch.optim.Optimizer):
    """A foreign optimizer that decays every parameter, with a gradient or without."""

    def __init__(self, params):
        super().__init__(params, {"decay": 0.1})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["decay"])
                if p.grad is not None:
                    p.sub_(0.1 * p.grad)


OPTIMIZERS["foreign"] = Decaying


@pytest.fixture(params=OPTIMIZERS)
def make_optimizer(request):
    """A function from parameters to an optimizer, once for each kind."""
    return OPTIMIZERS[request.param]


@pytest.fixture(autouse=True)
def _seeded():
    """Let every test begin with the same random numbers."""
    torch.manual_seed(0)


class Net(nn.Module):
    """Layers of every kind that has a way of its own to move while it is frozen."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, max_norm=0.5)
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.old_spectral = spectral_norm_of_old(nn.Linear(6, 6))
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        x = self.norm(self.hidden(self.embedding(x)))
        return self.head(self.old_spectral(self.spectral(x.relu())))


def spectral_norm_of_old(layer):
    """Return *layer* under the deprecated hook, which models in use still have."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.spectral_norm(layer)


@pytest.fixture
def net():
    """A small module in which everything that can move does."""
    return Net()


@pytest.fixture
def train():
    """A function that takes steps in a user's own loop."""
    return take_steps


def take_steps(module, optimizer, count=3, *, set_to_none=True):
    """Take *count* steps in a user's own loop; the last gradients are left behind."""
    for _ in range(count):
        module.train()
        x, target = torch.randint(10, (8,)), torch.randint(2, (8,))

        def closure(x=x, target=target):
            optimizer.zero_grad(set_to_none=set_to_none)
            loss = nn.functional.cross_entropy(module(x), target)
            loss.backward()
            return loss

        optimizer.step(closure) if isinstance(optimizer, torch.optim.LBFGS) else (
            closure(),
            optimizer.step(),
        )


@pytest.fixture
def bits():
    """A function from a session to the bytes of its variables, or of those named."""
    return bytes_of


def bytes_of(session, names=None):
    """Return the bytes of the variables *names*, or of all that are no slots."""
    wanted = names or [name for name, spec in session.specs.items() if spec.role != "slot"]
    return {name: session.read(name).tobytes() for name in wanted}
