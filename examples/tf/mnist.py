"""Train a small network on handwritten digits.  Checkpoints and statistics go to ./model.

Kill it at any moment: the same command goes on where it stopped, bit for bit.
"""

import argparse
import random

import numpy as np
import tensorflow.compat.v1 as tf
from batch_norm import batch_norm
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import warmstart as ws
from warmstart.sessions.tf_graph.adamw import AdamW

tf.disable_eager_execution()


def digits():
    """Return images (n, 64) in 0..1 and labels: 1437 to train on, then 360 held out."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("float32")
    return train_test_split(images, labels, test_size=360, random_state=0, stratify=labels)


def dense(x, units, name):
    with tf.variable_scope(name):
        kernel = tf.get_variable("kernel", [x.shape[-1], units])
        bias = tf.get_variable("bias", [units], initializer=tf.zeros_initializer())
    return x @ kernel + bias


def hidden_layer(image, training):
    """Return what mnist_ext.py builds upon: the names below are what it finds by."""
    return tf.nn.relu(batch_norm(dense(image, 64, "mnist/hidden"), training, "mnist/norm"))


def mnist(image, training):
    return dense(hidden_layer(image, training), 10, "mnist/logits")


def main(folder):
    for seed in (random.seed, np.random.seed, tf.set_random_seed):
        seed(1)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    image = tf.placeholder(tf.float32, [None, 64], "image")
    label = tf.placeholder(tf.int64, [None], "label")
    cost = tf.losses.sparse_softmax_cross_entropy(label, mnist(image, training=True))
    config = ws.AutoResumeTrainConfig(
        model=ws.TFGraph(inputs=[image, label], cost=cost, optimizer=AdamW(3e-3, 0.05)),
        data=ws.Batches((images, labels), batch_size=32),
        callbacks=[ws.ModelSaver(), ws.JSONWriter()],
        max_epoch=12,
    )
    ws.launch_train(config)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-dir", default="model")
    main(parser.parse_args().model_dir)
