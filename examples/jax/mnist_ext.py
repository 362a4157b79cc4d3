"""Stack a second hidden layer on the one trained by mnist.py, which stays frozen.

The layer and its batch norm are found in ./model by their names; the rest starts anew.
Checkpoints and statistics go to ./model_ext.
"""

import argparse
import random

import numpy as np
import optax
from flax import nnx
from mnist import digits, loss

import warmstart as ws

PRETRAINED = ["mnist/hidden/*", "mnist/norm/*"]


class MnistExt(nnx.Module):
    def __init__(self, rngs):
        self.mnist = nnx.Dict(
            hidden=nnx.Linear(64, 64, rngs=rngs),
            norm=nnx.BatchNorm(64, momentum=0.9, rngs=rngs),
            hidden2=nnx.Linear(64, 64, rngs=rngs),
            norm2=nnx.BatchNorm(64, momentum=0.9, rngs=rngs),
            drop=nnx.Dropout(0.2, rngs=rngs),
            logits=nnx.Linear(64, 10, rngs=rngs),
        )

    def __call__(self, image):
        h = nnx.relu(self.mnist.norm(self.mnist.hidden(image)))
        h = nnx.relu(self.mnist.norm2(self.mnist.hidden2(h)))
        return self.mnist.logits(self.mnist.drop(h))


def main(pretrained, folder):
    for seed in (random.seed, np.random.seed):
        seed(2)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    rate = optax.exponential_decay(3e-3, transition_steps=100, decay_rate=0.7, staircase=True)
    model = ws.JaxModel(
        MnistExt(nnx.Rngs(2)), loss=loss, optimizer=optax.adamw(rate, weight_decay=0.05)
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
