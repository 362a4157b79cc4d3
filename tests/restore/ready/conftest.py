"""What the reference implementations build, as TensorFlow graphs with their names and shapes."""

from collections.abc import Iterator

import numpy as np
import pytest

import warmstart as ws

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


@pytest.fixture
def tf() -> Iterator[object]:
    """Yield TensorFlow 1 with a graph of its own."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default():
        yield tf


class TensorpackResNet:
    """Tensorpack's resnet_model.py; strides pad on both sides, as torchvision does."""

    def __init__(self, tf, depth):
        self.tf = tf
        self.depth = depth

    def logits(self, image, classes=1000):
        tf = self.tf
        with tf.variable_scope("conv0"):
            x = tf.nn.relu(self.bn(self.conv(image, 64, 7, 2)))
        x = tf.nn.max_pool2d(tf.pad(x, self.margin(1), constant_values=-1e30), 3, 2, "VALID")
        for group, blocks in enumerate(BLOCKS[self.depth]):
            for block in range(blocks):
                with tf.variable_scope(f"group{group}/block{block}"):
                    x = self.block(x, 64 * 2**group, 2 if block == 0 and group > 0 else 1)
        x = tf.reduce_mean(x, [1, 2])
        with tf.variable_scope("linear"):
            weights = tf.get_variable("W", (x.shape[-1], classes))
            return tf.matmul(x, weights) + tf.get_variable("b", (classes,))

    def block(self, x, width, stride):
        tf = self.tf
        layers = [(3, stride, width), (3, 1, width)]
        if self.depth >= 50:
            layers = [(1, 1, width), (3, stride, width), (1, 1, width * 4)]
        short, outputs = x, layers[-1][2]
        for i, (size, step, features) in enumerate(layers, 1):
            with tf.variable_scope(f"conv{i}"):
                x = self.bn(self.conv(x, features, size, step))
            x = tf.nn.relu(x) if i < len(layers) else x
        if short.shape[-1] != outputs:
            with tf.variable_scope("convshortcut"):
                short = self.bn(self.conv(short, outputs, 1, stride))
        return tf.nn.relu(x + short)

    def conv(self, x, features, size, stride):
        tf = self.tf
        kernel = tf.get_variable("W", (size, size, x.shape[-1], features))
        padded = tf.pad(x, self.margin(size // 2))
        return tf.nn.conv2d(padded, kernel, stride, "VALID")

    def bn(self, x):
        tf = self.tf
        with tf.variable_scope("bn"):
            names = ("gamma", "beta", "mean/EMA", "variance/EMA")
            gamma, beta, mean, variance = (tf.get_variable(n, (x.shape[-1],)) for n in names)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-5)

    def margin(self, size):
        return [[0, 0], [size, size], [size, size], [0, 0]]


class GoogleBert:
    """The variables of google-research/bert's modeling.py, and what they compute without a mask."""

    def __init__(self, tf, **sizes):
        self.tf = tf
        self.vocabulary, self.positions = sizes["vocabulary"], sizes["positions"]
        self.width, self.heads = sizes["width"], sizes["heads"]
        self.layers, self.inner = sizes["layers"], sizes["inner"]

    def outputs(self, tokens, types):
        """Return the sequence's output and the pooled one."""
        tf = self.tf
        with tf.variable_scope("bert"):
            x = self.embedded(tokens, types)
            for i in range(self.layers):
                with tf.variable_scope(f"encoder/layer_{i}"):
                    x = self.layer(x)
            with tf.variable_scope("pooler"):
                return x, tf.tanh(self.dense(x[:, 0], self.width))

    def embedded(self, tokens, types):
        tf = self.tf
        with tf.variable_scope("embeddings"):
            sizes = {"word": self.vocabulary, "token_type": 2, "position": self.positions}
            word, kind, place = (
                tf.get_variable(f"{name}_embeddings", (size, self.width))
                for name, size in sizes.items()
            )
            x = tf.gather(word, tokens) + tf.gather(kind, types)
            return self.norm(x + place[: tokens.shape[1]])

    def layer(self, x):
        tf = self.tf
        with tf.variable_scope("attention"):
            with tf.variable_scope("self"):
                y = self.attention(x)
            with tf.variable_scope("output"):
                x = self.norm(self.dense(y, self.width) + x)
        with tf.variable_scope("intermediate"):
            y = self.dense(x, self.inner)
            y = 0.5 * y * (1 + tf.tanh((2 / np.pi) ** 0.5 * (y + 0.044715 * y**3)))
        with tf.variable_scope("output"):
            return self.norm(self.dense(y, self.width) + x)

    def attention(self, x):
        tf = self.tf
        batch, length, each = x.shape[0], x.shape[1], self.width // self.heads
        query, key, value = (
            tf.transpose(
                tf.reshape(self.dense(x, self.width, name), (batch, length, self.heads, each)),
                (0, 2, 1, 3),
            )
            for name in ("query", "key", "value")
        )
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) / each**0.5)
        mixed = tf.transpose(tf.matmul(weights, value), (0, 2, 1, 3))
        return tf.reshape(mixed, (batch, length, self.width))

    def dense(self, x, features, name="dense"):
        tf = self.tf
        with tf.variable_scope(name):
            kernel = tf.get_variable("kernel", (x.shape[-1], features))
            return tf.tensordot(x, kernel, 1) + tf.get_variable("bias", (features,))

    def norm(self, x):
        tf = self.tf
        with tf.variable_scope("LayerNorm"):
            beta = tf.get_variable("beta", (self.width,))
            gamma = tf.get_variable("gamma", (self.width,))
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-12)


def drawn(tf, scale=1.0):
    """Return values for all variables of the graph; gains and variances are near one."""
    values = np.random.default_rng(4)

    def value(name, shape):
        if name.endswith(("gamma", "variance/EMA")):
            return values.uniform(0.5, 1.0, shape)
        inputs = np.prod(shape[:-1]) if len(shape) > 1 else 25
        return values.standard_normal(shape) * scale * inputs**-0.5

    shapes = {v.op.name: tuple(v.shape.as_list()) for v in tf.global_variables()}
    return {name: value(name, shape).astype(np.float32) for name, shape in shapes.items()}


def run(tf, outputs, values):
    """Return *outputs* of the graph when its variables have *values*."""
    with tf.Session() as session:
        variables = tf.global_variables()
        given = {v.initializer.inputs[1]: values[v.op.name] for v in variables}
        session.run([v.initializer for v in variables], given)
        return session.run(outputs)


@pytest.fixture
def resnet():
    return TensorpackResNet


@pytest.fixture
def bert():
    return GoogleBert


@pytest.fixture
def computed():
    """Return what runs the graph with random values: those, and the outputs."""

    def compute(tf, outputs):
        values = drawn(tf)
        return values, run(tf, outputs, values)

    return compute


@pytest.fixture
def draw():
    return drawn


@pytest.fixture
def there_and_back(tmp_path):
    """Return what gives values as they are after a conversion by rules and one back."""

    def converted(values, rules):
        ws.save_vars(values, tmp_path / "old.npz")
        ws.convert(tmp_path / "old.npz", tmp_path / "new.npz", rules=rules)
        ws.convert(tmp_path / "new.npz", tmp_path / "again.npz", rules=ws.inverted(rules))
        return ws.load_vars(tmp_path / "again.npz")

    return converted
