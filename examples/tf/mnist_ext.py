"""Stack a second hidden layer on the one trained by mnist.py, which stays frozen.

The layer and its batch norm are found in ./model by their names; the rest starts anew.
Checkpoints and statistics go to ./model_ext.
"""

import argparse
import random

import numpy as np
import tensorflow.compat.v1 as tf
from batch_norm import batch_norm
from mnist import dense, digits, hidden_layer

import warmstart as ws
from warmstart.sessions.tf_graph.adamw import AdamW


def mnist_ext(image, training):
    h = hidden_layer(image, training)
    h = tf.nn.relu(batch_norm(dense(h, 64, "mnist/hidden2"), training, "mnist/norm2"))
    return dense(h, 10, "mnist/logits")


def main(pretrained, folder):
    for seed in (random.seed, np.random.seed, tf.set_random_seed):
        seed(2)
    ws.logger.set_logger_dir(folder)
    images, _, labels, _ = digits()
    image = tf.placeholder(tf.float32, [None, 64], "image")
    label = tf.placeholder(tf.int64, [None], "label")
    cost = tf.losses.sparse_softmax_cross_entropy(label, mnist_ext(image, training=True))
    model = ws.TFGraph(inputs=[image, label], cost=cost, optimizer=AdamW(3e-3, 0.05))
    frozen = ws.freeze(model, ["mnist/hidden/*", "mnist/norm/*"])
    config = ws.AutoResumeTrainConfig(
        model=model,
        data=ws.Batches((images, labels), batch_size=32),
        session_init=ws.WarmStartSettings(
            ckpt_to_initialize_from=pretrained,
            vars_to_warm_start=[
                "mnist/hidden/kernel",
                "mnist/hidden/bias",
                "mnist/norm/gamma",
                "mnist/norm/beta",
                "mnist/norm/moving_mean",
                "mnist/norm/moving_variance",
            ],
        ),
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
