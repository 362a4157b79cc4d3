"""Train a small network on handwritten digits.  Checkpoints and statistics go to ./model.

Kill it at any moment: the same command goes on where it stopped, bit for bit.
"""

import argparse
import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import warmstart as ws


def digits():
    """Return images (n, 64) in 0..1 and labels: 1437 to train on, then 360 held out."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    return train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)


class Mnist(nn.Module):
    def __init__(self):
        super().__init__()
        self.mnist = nn.Module()  # so that the names are mnist.hidden.weight, mnist.norm.weight …
        self.mnist.hidden = nn.Linear(64, 64)
        self.mnist.norm = nn.BatchNorm1d(64)
        self.mnist.logits = nn.Linear(64, 10)

    def forward(self, image):
        return self.mnist.logits(torch.relu(self.mnist.norm(self.mnist.hidden(image))))


def main(folder):
    torch.set_num_threads(1)  # faster for a network this small
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(1)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    module = Mnist()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3, weight_decay=0.05)
    config = ws.AutoResumeTrainConfig(
        model=ws.TorchModel(module, loss=nn.functional.cross_entropy, optimizer=optimizer),
        data=ws.Batches((images, labels), batch_size=32),
        callbacks=[ws.ModelSaver(), ws.JSONWriter()],
        max_epoch=12,
    )
    ws.launch_train(config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    main(parser.parse_args().model_dir)
