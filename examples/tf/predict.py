"""Predict the held-out digits from a file of weights: npz, a bundle, or a training checkpoint."""

import argparse

import tensorflow.compat.v1 as tf
from mnist import digits
from mnist_ext import mnist_ext

import warmstart as ws


def main(weights):
    _, images, _, labels = digits()
    image = tf.placeholder(tf.float32, [None, 64], "image")
    tf.identity(mnist_ext(image, training=False), "logits")
    config = ws.PredictConfig(
        model=tf.Session(),
        session_init=ws.SmartInit(weights),
        input_names=["image"],
        output_names=["logits"],
    )
    (logits,) = ws.OfflinePredictor(config)(images)
    accuracy = (logits.argmax(axis=1) == labels).mean()
    print(f"{accuracy:.1%} of {len(labels)} held-out digits are right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="?", default="model_ext")
    main(parser.parse_args().weights)
