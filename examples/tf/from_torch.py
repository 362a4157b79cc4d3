"""Carry a network trained in PyTorch (../torch/mnist.py) into a TensorFlow graph, without PyTorch.

Names are changed by rules.  Rules do not transpose, so the two kernels are turned in the dict:
PyTorch keeps (out, in), this graph (in, out).
"""

import argparse

import numpy as np
import tensorflow.compat.v1 as tf
from mnist import digits, mnist

import warmstart as ws

RULES = [
    "keep mnist.*.weight",
    "keep mnist.*.bias",
    "keep mnist.norm.running_*",
    "rename mnist.norm.weight -> mnist/norm/gamma",
    "rename mnist.norm.bias -> mnist/norm/beta",
    "rename mnist.norm.running_mean -> mnist/norm/moving_mean",
    "rename mnist.norm.running_var -> mnist/norm/moving_variance",
    "rename mnist.*.weight -> mnist/*/kernel",
    "rename mnist.*.bias -> mnist/*/bias",
]


def main(checkpoint):
    _, images, _, labels = digits()
    image = tf.placeholder(tf.float32, [None, 64], "image")
    logits = mnist(image, training=False)

    values = ws.load_vars(checkpoint)
    for name in ("mnist.hidden.weight", "mnist.logits.weight"):
        values[name] = values[name].T
    with tf.Session() as session:
        print(ws.DictRestore(values, rules=RULES).init(session))
        found = session.run(logits, {image: images})

    print(f"{(found.argmax(axis=1) == labels).mean():.1%} of the held-out digits are right")
    expected = by_hand(values, images)
    print(f"logits differ from PyTorch's formula by at most {np.abs(found - expected).max():.1e}")


def by_hand(values, images):
    """Return the logits as NumPy makes them of PyTorch's variables, the kernels turned."""
    v = {name.removeprefix("mnist."): value for name, value in values.items()}
    h = images @ v["hidden.weight"] + v["hidden.bias"]
    h = (h - v["norm.running_mean"]) / np.sqrt(v["norm.running_var"] + 1e-5)
    h = np.maximum(h * v["norm.weight"] + v["norm.bias"], 0)
    return h @ v["logits.weight"] + v["logits.bias"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="../torch/model")
    main(parser.parse_args().checkpoint)
