"""PyTorch: dropout, batch norm, a schedule, accumulated and scaled gradients, a moving average,
and a DataLoader whose workers augment."""

from typing import Any

import numpy as np
import torch
from run import BATCH, EXAMPLES, examples
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

import warmstart as ws

torch.set_num_threads(1)


class Augmented(Dataset[Any]):
    def __init__(self) -> None:
        self.inputs, self.targets = map(torch.from_numpy, examples())
        self.noise = np.random.default_rng(3)

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> Any:
        noise = 0.1 * torch.randn(6) + float(self.noise.random()) + np.random.random()
        return self.inputs[index] + noise, self.targets[index]


def start() -> dict[str, Any]:
    torch.seed()
    torch.manual_seed(4)
    module = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
    )
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    average = AveragedModel(module, use_buffers=True)
    return {
        "model": ws.TorchModel(
            module,
            loss=nn.functional.mse_loss,
            optimizer=optimizer,
            scheduler=torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3),
            accumulate=3,
            scaler=torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2),
        ),
        "data": DataLoader(Augmented(), BATCH, shuffle=True, num_workers=2),
        "also": {"average": average},
        "callbacks": [ws.Callback(after_step=lambda t, m: average.update_parameters(module))],
    }
