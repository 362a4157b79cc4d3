"""Train a small network on handwritten digits.  Checkpoints and statistics go to ./model.

Kill it at any moment: the same command goes on where it stopped, bit for bit.
"""

import argparse
import random

import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import warmstart as ws


def digits():
    """Return images (n, 64) in 0..1 and labels: 1437 to train on, then 360 held out."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    return train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)


class Mnist(nnx.Module):
    def __init__(self, rngs):
        self.mnist = nnx.Dict(  # so that the names are mnist/hidden/kernel, mnist/norm/scale …
            hidden=nnx.Linear(64, 64, rngs=rngs),
            norm=nnx.BatchNorm(64, momentum=0.9, rngs=rngs),
            logits=nnx.Linear(64, 10, rngs=rngs),
        )

    def __call__(self, image):
        return self.mnist.logits(nnx.relu(self.mnist.norm(self.mnist.hidden(image))))


def loss(model, batch):
    """Return the mean cross-entropy of the batch."""
    images, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


def main(folder):
    for seed in (random.seed, np.random.seed):
        seed(1)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    config = ws.AutoResumeTrainConfig(
        model=ws.JaxModel(
            Mnist(nnx.Rngs(1)), loss=loss, optimizer=optax.adamw(3e-3, weight_decay=0.05)
        ),
        data=ws.Batches((images, labels), batch_size=32),
        callbacks=[ws.ModelSaver(), ws.JSONWriter()],
        max_epoch=12,
    )
    ws.launch_train(config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    main(parser.parse_args().model_dir)
