"""How the files here were made; what each holds is in the .npz of the same name.

    python make.py            Keras 3.15.1 (JAX 0.10 behind it), h5py 3.14
    python make.py old        tf_keras 2.21.0 (Keras 2) on TensorFlow 2.21.0, h5py 3.14

A name in an .npz is the variable's `path` (Keras 3) or its `name` without `:0` (Keras 2).
"""

import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")  # pytest, which imports this too, has chosen one
HERE = Path(__file__).parent
KERAS_2 = sys.argv[1:] == ["old"]

if KERAS_2:
    import tf_keras as keras
else:
    import keras

L = keras.layers


def sequential():
    """Trained, with statistics, slots, a frozen layer and a dropout."""
    model = keras.Sequential(
        [
            L.Input((4,)),
            L.Dense(3, name="frozen", trainable=False),
            L.BatchNormalization(),
            L.Dropout(0.5, seed=1),
            L.Dense(2, name="head"),
        ]
    )
    return trained(model, (4, 4), keras.optimizers.Adam())


def functional():
    """Shared layers, wrappers, recurrent cells, attention and a model in the model."""
    start = L.Input((6,))
    embedded = L.Embedding(5, 4)(start)
    both = L.Bidirectional(L.LSTM(2, name="inner"))(embedded)
    cells = L.RNN(L.StackedRNNCells([L.GRUCell(2), L.LSTMCell(3)]))(embedded)
    attended = L.MultiHeadAttention(2, 2)(embedded, embedded)
    shared = L.Dense(2, name="shared")
    twice = [L.TimeDistributed(shared)(attended), L.TimeDistributed(shared)(embedded)]
    flat = [L.Flatten()(L.LayerNormalization()(each)) for each in twice]
    inside = L.Input((2,))
    inner = keras.Model(inside, L.Dense(2, name="in")(inside), name="inner_model")
    joined = L.Concatenate()([both, cells, *flat])
    model = keras.Model(start, inner(L.Dense(2)(joined)), name="outer")
    return trained(model, (4, 6), keras.optimizers.SGD())


def subclassed():
    """Layers in lists, in lists of lists, in dicts, and a variable of the model's own."""

    @keras.saving.register_keras_serializable()
    class Net(keras.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.first = L.Dense(2)
            self.blocks = [L.Dense(2), [L.Dense(2), L.Dense(2)]]
            self.by_name = {"a": L.Dense(2), "b": L.Conv1D(2, 1)}
            self.norm = L.BatchNormalization()
            self.scale = self.add_weight(shape=(2,), name="scale")

        def call(self, x):
            x = self.first(x) * self.scale
            x = self.blocks[1][1](self.blocks[1][0](self.blocks[0](x)))
            return self.norm(self.by_name["b"](self.by_name["a"](x)[:, None])[:, 0])

    return trained(Net(name="net"), (4, 2), keras.optimizers.Adam())


def trained(model, shape, optimizer):
    """Return *model* after two steps."""
    keras.utils.set_random_seed(0)
    model.compile(optimizer, keras.losses.MeanSquaredError())
    model.fit(np.ones(shape), np.ones((shape[0], 2)), batch_size=2, verbose=0)
    return model


def keep(model, name):
    """Save what *model* holds under the names that it shows."""
    optimizer = model.optimizer
    variables = [*model.variables, *(optimizer.variables() if KERAS_2 else optimizer.variables)]
    values = {}
    for each in variables:
        path = each.name.removesuffix(":0") if KERAS_2 else each.path
        values[path.replace("/", "\\")] = np.asarray(each)  # NumPy would make folders of it
    np.savez(HERE / f"{name}.npz", **values)


def of_keras_3():
    for make in (sequential, functional, subclassed):
        keras.backend.clear_session()
        model, name = make(), make.__name__
        model.save(HERE / f"{name}.keras")
        model.save_weights(HERE / f"{name}.weights.h5")
        keep(model, name)
    keras.backend.clear_session()
    model = sequential()
    model.save(HERE / "legacy3.h5")
    keep(model, "legacy3")
    model.save_weights(HERE / "sharded.weights.json", max_shard_size=100 / 2**30)
    keep(model, "sharded")
    keras.backend.clear_session()
    keras.config.set_dtype_policy("bfloat16")
    model = keras.Sequential([L.Input((2,)), L.Dense(2)])
    model.save_weights(HERE / "bfloat16.weights.h5")


def of_keras_2():
    for make in (sequential, functional):
        keras.backend.clear_session()
        model, name = make(), f"old_{make.__name__}"
        model.save(HERE / f"{name}.h5", save_format="h5")
        model.save_weights(HERE / f"{name}_weights.h5")
        model.save(HERE / f"{name}.keras")
        keep(model, name)


if __name__ == "__main__":
    of_keras_2() if KERAS_2 else of_keras_3()
