"""A training on PyTorch that may be killed: run_torch.py FOLDER [STEP [EVERY_STEPS]]."""

import os
import random
import signal
import sys
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import warmstart as ws


class Augmented(Dataset[Any]):
    """Examples with noise that the workers draw."""

    def __init__(self) -> None:
        inputs = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
        self.inputs = torch.from_numpy(inputs)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        inputs = self.inputs[index]
        return inputs + 0.1 * torch.randn(8) + random.random(), inputs[:1] * 2


def main(folder: str, kill_at: int = 0, every_steps: int = 3) -> None:
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    np.random.seed(0)
    module = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
    )
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)

    def kill(trainer: Any, metrics: Any) -> None:
        np.random.standard_normal()
        if trainer.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ws.logger.set_logger_dir(folder)
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=ws.TorchModel(
                module,
                loss=nn.functional.mse_loss,
                optimizer=optimizer,
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 21),
            ),
            data=DataLoader(Augmented(), 16, shuffle=True, num_workers=1),
            callbacks=[
                ws.Callback(after_step=kill),
                ws.MinSaver("loss"),
                ws.ModelSaver(every_steps, max_to_keep=2, asynchronous=True),
            ],
            max_epoch=3,
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
