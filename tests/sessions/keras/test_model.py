"""A compiled Keras model in the training loop."""

import keras
import numpy as np
import pytest

import warmstart as ws

L = keras.layers
X = np.linspace(-1, 1, 32, dtype="float32").reshape(8, 4)
Y = (X[:, :1] > 0).astype("float32")


def compiled(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(8, "relu"), L.BatchNormalization(), L.Dropout(0.2), L.Dense(1)]
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    metrics = [keras.metrics.BinaryAccuracy(threshold=0.0)]
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 4, 0.7)
    model.compile(keras.optimizers.AdamW(schedule), loss, metrics=metrics, **options)
    return model


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Keras' own, under torch.compile
def test_a_step_is_that_of_keras(jit):
    batches = [(X[i : i + 4], Y[i : i + 4]) for i in (0, 4)]
    theirs = compiled(jit_compile=jit)
    expected = [theirs.train_on_batch(*batch, return_dict=True) for batch in batches]
    ours = ws.KerasModel(compiled(jit_compile=jit))
    found = [ours.train_step(batch) for batch in batches]
    assert all(type(value) is float for metrics in found for value in metrics.values())
    assert found == [{name: float(v) for name, v in metrics.items()} for metrics in expected]
    for mine, other in zip(ours.model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_weights_of_samples_count():
    found = [
        ws.KerasModel(compiled(jit_compile=False)).train_step((X, Y, weight))["loss"]
        for weight in (np.ones(8, "float32"), np.zeros(8, "float32"))
    ]
    assert found[0] > 0 == found[1]


def test_a_killed_run_goes_on_as_one_that_was_not(tmp_path):
    def run(folder, epochs):
        model = ws.KerasModel(compiled(jit_compile=False))
        config = ws.AutoResumeTrainConfig(
            model=model,
            data=ws.Batches((X, Y), 4),
            callbacks=[ws.ModelSaver(checkpoint_dir=folder)],
            max_epoch=epochs,
        )
        return ws.launch_train(config).model.session

    ws.logger.set_logger_dir(tmp_path / "log")
    straight = run(tmp_path / "straight", 4)
    run(tmp_path / "halted", 2)
    resumed = run(tmp_path / "halted", 4)
    for name in straight.specs:
        assert straight.read(name).tobytes() == resumed.read(name).tobytes(), name


def test_a_metric_of_several_numbers_has_each():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([L.Input((4,)), L.Dense(2, "sigmoid")])
    metrics = [keras.metrics.F1Score(threshold=0.5, name="f1")]
    model.compile("sgd", "mse", metrics=metrics, jit_compile=False)
    found = ws.KerasModel(model).train_step((X, np.eye(2, dtype="float32")[[0, 1] * 4]))
    assert set(found) == {"loss", "f1/0", "f1/1"}


def test_what_cannot_be_trained_is_refused():
    model = keras.Sequential([L.Input((4,)), L.Dense(1)])
    with pytest.raises(ValueError, match=r"is not compiled: model\.compile\(optimizer="):
        ws.KerasModel(model)
    model.compile("sgd", "mse", steps_per_execution=2)
    with pytest.raises(ValueError, match=r"takes 2 steps at once; a training step is one"):
        ws.KerasModel(model)
    with pytest.raises(TypeError, match=r"takes a keras\.Model, not a keras\.src\S*\.Dense"):
        ws.KerasModel(L.Dense(1))


def noisy():
    """Return a compiled model with random numbers of TensorFlow that it keeps no state of."""
    import tensorflow as tf

    noise = L.Lambda(lambda x: x + tf.random.uniform(tf.shape(x)), name="noise")
    model = keras.Sequential([L.Input((4,)), noise, L.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    return ws.KerasModel(model)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="an operation of TensorFlow's")
def test_random_operations_without_a_state_are_refused_before_the_first_step(tmp_path):
    model = noisy()
    saver = ws.ModelSaver(checkpoint_dir=tmp_path)
    arguments = {"data": ws.Batches((X, Y), 4), "max_epoch": 1}
    before = [np.array(each) for each in model.model.get_weights()]
    ws.logger.set_logger_dir(tmp_path / "log")
    with pytest.raises(ws.ResumeError, match=r"bring back 1 of its pieces\n  \S*noise\S*: a"):
        ws.Trainer(model).train(callbacks=[saver], **arguments)
    assert all(map(np.array_equal, before, model.model.get_weights()))
    model = noisy()
    ws.Trainer(model).train(callbacks=[saver], accept="*noise*", **arguments)
    assert list(model.session.state()["not_saved"]) == list(model.session.unresumable())
