"""Stack a second hidden layer on the one trained by mnist.py, which stays frozen.

The layer and its batch norm are found in ./model by their names; the rest starts anew.
Checkpoints and statistics go to ./model_ext.
"""

import argparse
import random

import numpy as np
import torch
from mnist import digits
from torch import nn

import warmstart as ws

PRETRAINED = ["mnist.hidden.*", "mnist.norm.*"]


class MnistExt(nn.Module):
    def __init__(self):
        super().__init__()
        self.mnist = nn.Module()
        self.mnist.hidden = nn.Linear(64, 64)
        self.mnist.norm = nn.BatchNorm1d(64)
        self.mnist.hidden2 = nn.Linear(64, 64)
        self.mnist.norm2 = nn.BatchNorm1d(64)
        self.mnist.drop = nn.Dropout(0.2)
        self.mnist.logits = nn.Linear(64, 10)

    def forward(self, image):
        h = torch.relu(self.mnist.norm(self.mnist.hidden(image)))
        h = torch.relu(self.mnist.norm2(self.mnist.hidden2(h)))
        return self.mnist.logits(self.mnist.drop(h))


def main(pretrained, folder):
    torch.set_num_threads(1)  # faster for a network this small
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(2)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    module = MnistExt()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.05)
    model = ws.TorchModel(
        module,
        loss=nn.functional.cross_entropy,
        optimizer=optimizer,
        scheduler=torch.optim.lr_scheduler.StepLR(optimizer, step_size=100, gamma=0.7),
    )
    frozen = ws.freeze(model, PRETRAINED)
    config = ws.AutoResumeTrainConfig(
        model=model,
        data=ws.Batches((images, labels), batch_size=32),
        session_init=ws.SmartInit(pretrained, rules=[ws.keep(*PRETRAINED)]),
        callbacks=[ws.ModelSaver(every_steps=20), ws.JSONWriter()],
        max_epoch=8,
    )
    ws.launch_train(config)
    frozen.verify()  # raises if a bit of the frozen layer has moved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    parser.add_argument("--model-ext-dir", default="model_ext")
    arguments = parser.parse_args()
    main(arguments.model_dir, arguments.model_ext_dir)
