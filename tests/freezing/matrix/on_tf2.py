"""The matrix on tf.Module."""

import tensorflow as tf

import warmstart as ws

from .cells import Engine, Names, Recipe, all_of, batches

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
KERAS = tf.keras.optimizers

OPTIMIZERS = {
    "SGD": lambda: KERAS.SGD(0.01, momentum=0.9, weight_decay=0.1),
    "Adam": lambda: KERAS.Adam(0.01),
    "AdamW": lambda: KERAS.AdamW(0.01, weight_decay=0.1),
    "Adafactor": lambda: KERAS.Adafactor(0.01, weight_decay=0.1),
}
TIMES_ZERO = "gradients times 0"
STOPPED = "`tf.stop_gradient` of the backbone's output"
DEFAULT = "`freeze_variables()`"


class Dense(tf.Module):
    def __init__(self, outputs, seed):
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([4, outputs], [seed, 0]))
        self.b = tf.Variable(tf.zeros([outputs]))

    def __call__(self, x):
        return x @ self.w + self.b


class BatchNorm(tf.Module):
    def __init__(self):
        super().__init__()
        self.gamma, self.beta = tf.Variable(tf.ones([4])), tf.Variable(tf.zeros([4]))
        self.mean = tf.Variable(tf.zeros([4]), trainable=False)
        self.variance = tf.Variable(tf.ones([4]), trainable=False)

    def __call__(self, x, training):
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = tf.nn.moments(x, [0])
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance)
        return tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, 1e-3)


class Net(tf.Module):
    def __init__(self, batch_norm, backbone, optimizer, stopped=False):
        super().__init__()
        self.embedding = tf.Variable(tf.random.stateless_normal([8, 4], [0, 0]))
        with backbone:
            self.backbone = Dense(4, 1)
            self.norm = BatchNorm() if batch_norm else None
        self.head = Dense(2, 2)
        self.stopped = stopped
        self.sparse = optimizer != "Adafactor"  # Keras' own fails on sparse gradients

    def __call__(self, ids, training=False):
        dense = tf.one_hot(ids, 8)
        rows = tf.gather(self.embedding, ids) if self.sparse else dense @ self.embedding
        hidden = self.backbone(rows)
        hidden = hidden if self.norm is None else self.norm(hidden, training)
        return self.head(tf.tanh(tf.stop_gradient(hidden) if self.stopped else hidden))


def loss(output, target):
    return tf.reduce_mean((output - target) ** 2)


class Modules(Engine):
    name = "tf.Module"
    recipes = (TIMES_ZERO, STOPPED, DEFAULT)

    def names(self, batch_norm):
        return Names(
            "embedding",
            ("backbone/w", "backbone/b", *(("norm/gamma", "norm/beta") if batch_norm else ())),
            ("norm/mean", "norm/variance") if batch_norm else (),
            ("head/w", "head/b"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs):
        net = Net(batch_norm, backbone, optimizer)
        return ws.TFModule(net, loss=loss, optimizer=OPTIMIZERS[optimizer](), gradprocs=gradprocs)

    def recipe(self, recipe, optimizer):
        context = ws.freeze_variables(stop_gradient=recipe == DEFAULT)
        net = Net(True, context, optimizer, stopped=recipe == STOPPED)
        moves = OPTIMIZERS[optimizer]()
        moves.build(list(net.trainable_variables))
        factor = tf.Variable(1.0, trainable=False)
        backbone = {id(v) for v in (*net.backbone.variables, *net.norm.variables)}
        source = batches()

        @tf.function
        def step(ids, target):
            with tf.GradientTape() as tape:
                error = loss(net(ids, training=True), target)
            variables = net.trainable_variables
            gradients = tape.gradient(error, variables, unconnected_gradients="zero")
            pairs = zip(gradients, variables, strict=True)
            moves.apply_gradients([(g * factor if id(v) in backbone else g, v) for g, v in pairs])

        def train(steps):
            for _ in range(steps):
                step(*map(tf.constant, next(source)))

        def apply():
            factor.assign(0.0 if recipe == TIMES_ZERO else 1.0)

        return Recipe(apply, train, lambda: all_of(net))


ENGINE = Modules()
