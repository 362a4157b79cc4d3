"""What is frozen keeps its bits in a module and a step that torch.compile has compiled."""

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws

#: torch.compile itself looks at the .grad of tensors that have none.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


@pytest.fixture(autouse=True)
def _cold():
    """Let every test compile for itself."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, max_norm=0.5)
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6)
        self.bare = nn.BatchNorm1d(6, affine=False)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.bare(self.norm(self.hidden(self.embedding(x)))).relu())


WHAT = {
    "embedding.weight": np.s_[:5],
    "hidden.weight": np.s_[:, 1:],
    "norm.*": ...,
    "bare.*": ...,
    "head.bias": ...,
}


@pytest.fixture(params=["before", "after"])
def compiled_first(request):
    """Whether the module has been compiled, and has run, when it is frozen."""
    return request.param == "after"


@pytest.mark.parametrize("step_too", [False, True], ids=["eager-step", "compiled-step"])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."], ids=["module", "compiled-module"])
def test_frozen_before_and_after_compiling(compiled_first, step_too, prefix):
    net = Net()
    compiled = torch.compile(net, backend="aot_eager")
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    step = torch.compile(optimizer.step, backend="aot_eager") if step_too else optimizer.step

    def train():
        for _ in range(4):
            compiled.train()
            optimizer.zero_grad()
            compiled(torch.randint(10, (8,))).square().sum().backward()
            step()

    if compiled_first:
        train()
    session = ws.session_for(compiled if prefix else net, optimizer=optimizer)
    frozen = ws.freeze(session, {prefix + name: index for name, index in WHAT.items()})
    before = {name: value.clone() for name, value in net.state_dict().items()}
    train()
    frozen.verify()
    moved = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == {"embedding.weight", "hidden.weight", "hidden.bias", "head.weight"}
    frozen.thaw()
    train()
    moved = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == set(before)
