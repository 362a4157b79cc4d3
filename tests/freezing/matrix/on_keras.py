"""The matrix on Keras 3; KERAS_BACKEND says on which backend."""

import keras

import warmstart as ws

from .cells import Engine, Names, Recipe, all_of, batches

BACKEND = keras.config.backend()
L = keras.layers
CALLED = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}

OPTIMIZERS = {
    "SGD": lambda: keras.optimizers.SGD(0.01, momentum=0.9, weight_decay=0.1),
    "Adam": lambda: keras.optimizers.Adam(0.01, weight_decay=0.1),
    "AdamW": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "Adafactor": lambda: keras.optimizers.Adafactor(0.01, weight_decay=0.1),
}
LATE = "`layer.trainable = False` after `compile`"
STOPPED = "`ops.stop_gradient` of the backbone's output"
DEFAULT = "`freeze_variables()`"


class DenseEmbedding(L.Layer):
    """An embedding with a dense gradient: Keras' Adafactor fails on TensorFlow's sparse ones."""

    def build(self, input_shape):
        self.embeddings = self.add_weight(shape=(8, 4), name="embeddings")

    def call(self, ids):
        return keras.ops.one_hot(ids, 8) @ self.embeddings


def compiled(optimizer, batch_norm, backbone, stopped=False):
    """Return a new model, compiled."""
    keras.utils.set_random_seed(0)
    dense = (BACKEND, optimizer) == ("tensorflow", "Adafactor")
    embedding = DenseEmbedding if dense else lambda **o: L.Embedding(8, 4, **o)
    ids = L.Input((), dtype="int32")
    hidden = embedding(name="embedding")(ids)
    with backbone:
        hidden = L.Dense(4, name="backbone")(hidden)
        hidden = L.BatchNormalization(name="norm")(hidden) if batch_norm else hidden
    hidden = L.Lambda(keras.ops.stop_gradient)(hidden) if stopped else hidden
    model = keras.Model(ids, L.Dense(2, name="head")(L.Activation("tanh")(hidden)))
    model.compile(OPTIMIZERS[optimizer](), "mse", jit_compile=BACKEND == "jax")
    return model


class Keras(Engine):
    name = f"Keras on {CALLED[BACKEND]}"
    #: On JAX the first is an error of Keras' own.
    recipes = (STOPPED, DEFAULT) if BACKEND == "jax" else (LATE, STOPPED, DEFAULT)

    def names(self, batch_norm):
        norm = ("norm/gamma", "norm/beta") if batch_norm else ()
        return Names(
            "embedding/embeddings",
            ("backbone/kernel", "backbone/bias", *norm),
            ("norm/moving_mean", "norm/moving_variance") if batch_norm else (),
            ("head/kernel", "head/bias"),
        )

    def build(self, optimizer, batch_norm, backbone, gradprocs):
        return ws.KerasModel(compiled(optimizer, batch_norm, backbone), gradprocs=gradprocs)

    def recipe(self, recipe, optimizer):
        context = ws.freeze_variables(stop_gradient=recipe == DEFAULT)
        model = compiled(optimizer, True, context, stopped=recipe == STOPPED)
        source = batches()

        def train(steps):
            for _ in range(steps):
                model.train_on_batch(*next(source))

        def apply():
            for name in ("backbone", "norm") if recipe == LATE else ():
                model.get_layer(name).trainable = False

        return Recipe(apply, train, lambda: all_of(model))


ENGINE = Keras()
