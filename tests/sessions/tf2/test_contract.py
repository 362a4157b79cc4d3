"""What every session owes, for the optimizers there are."""

import numpy as np
import tensorflow as tf

import warmstart as ws
from warmstart.testing.sessions import SessionContract

keras = tf.keras.optimizers
v1 = tf.compat.v1.train


class Dense(tf.Module):
    def __init__(self, inputs, outputs, seed):
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([inputs, outputs], [seed, 0]), name="w")
        self.b = tf.Variable(tf.zeros([outputs]), name="b")

    def __call__(self, x):
        return x @ self.w + self.b


class Net(tf.Module):
    """Two layers in a list, dropout by a generator, and one of the variables by two names."""

    def __init__(self):
        super().__init__()
        self.layers = [Dense(4, 3, 1), Dense(3, 1, 2)]
        self.first = self.layers[0].w
        self.noise = tf.random.Generator.from_seed(3)

    def __call__(self, x):
        x = tf.nn.tanh(self.layers[0](x))
        return self.layers[1](x * tf.cast(self.noise.uniform(x.shape) > 0.2, tf.float32))


class ModuleContract(SessionContract):
    """A TFModule of two layers; the batch is always the same."""

    optimizer = staticmethod(lambda: keras.SGD(0.05, momentum=0.9, weight_decay=0.01))
    options = {}
    passes = 1  # steps that make one update

    def make(self):
        model = ws.TFModule(
            Net(),
            loss=lambda y, target: tf.reduce_mean((y - target) ** 2),
            optimizer=self.optimizer(),
            **self.options,
        )
        x = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)

        def train(steps):
            for _ in range(steps * self.passes):
                model.train_step((x, x[:, :1]))

        return model.session, train


class TestMomentum(ModuleContract):
    pass


class TestAdamW(ModuleContract):
    optimizer = staticmethod(
        lambda: keras.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_overwrite_frequency=2)
    )


class TestAdafactor(ModuleContract):
    optimizer = staticmethod(lambda: keras.Adafactor(0.05))


class TestAccumulation(ModuleContract):
    optimizer = staticmethod(lambda: keras.Adam(0.05, gradient_accumulation_steps=2))
    passes = 2


class TestLossScale(ModuleContract):
    optimizer = staticmethod(
        lambda: keras.LossScaleOptimizer(keras.Adam(0.05), dynamic_growth_steps=2)
    )


class TestCompiled(ModuleContract):
    options = {"jit_compile": True}


class TestOptimizerOfTensorFlow1(ModuleContract):
    optimizer = staticmethod(lambda: v1.AdamOptimizer(0.05))


class TestOwnLoop(SessionContract):
    """Nobody but the user's own code trains: a tf.function that is traced before any freezing."""

    def make(self):
        net = Net()
        optimizer = keras.Adam(0.05)
        x = tf.reshape(tf.linspace(-1.0, 1.0, 20), [5, 4])

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((net(x) - x[:, :1]) ** 2)
            variables = net.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        def train(steps):
            for _ in range(steps):
                step()

        return ws.session_for(net, optimizer=optimizer), train
