"""Predict the held-out digits from a file of weights: npz, a bundle, or a training checkpoint."""

import argparse

from flax import nnx
from mnist import digits
from mnist_ext import MnistExt

import warmstart as ws


def main(weights):
    _, images, _, labels = digits()
    config = ws.PredictConfig(model=MnistExt(nnx.Rngs(0)), session_init=ws.SmartInit(weights))
    (logits,) = ws.OfflinePredictor(config)(images)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    print(f"{accuracy:.1%} of {len(labels)} held-out digits are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default="model_ext")
    main(parser.parse_args().weights)
