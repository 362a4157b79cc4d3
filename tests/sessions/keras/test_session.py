"""Names, files and shapes of Keras models; what a session says of them."""

import keras
import numpy as np
import pytest

import warmstart as ws
from warmstart.sessions.keras.arrays import has_value

L = keras.layers
X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)
Y = np.ones((3, 2), "float32")


class Block(L.Layer):
    """Layers in attributes, private ones and lists, and variables in a list."""

    def __init__(self, **options):
        super().__init__(**options)
        self._inner = L.Dense(4)
        self.towers = [L.Dense(4, name="first"), {"a": L.Dense(4)}]
        self.drop = L.Dropout(0.1)

    def build(self, shape):
        self.scales = [self.add_weight(shape=(4,), name="scale") for _ in range(2)]
        for each in (self._inner, self.towers[0], self.towers[1]["a"]):
            each.build(shape)

    def call(self, x):
        x = self.drop(self.towers[1]["a"](self.towers[0](self._inner(x))))
        return x * self.scales[0] + self.scales[1]


def functional():
    start = L.Input((4,))
    x = Block(name="block")(start)
    x = keras.Sequential([L.Input((4,)), L.Dense(4), L.BatchNormalization()])(x)
    return keras.Model(start, L.Dense(2, name="head")(L.Dense(3)(x)))


def sequential():
    return keras.Sequential([L.Input((4,)), L.Dense(3), L.BatchNormalization(), L.Dense(2)])


class Net(keras.Model):
    """A model of attributes, unbuilt."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([L.Dense(4), L.Dense(4)])
        self.norm = L.BatchNormalization()
        self.head = L.Dense(2)

    def call(self, x, training=False):
        return self.head(self.norm(self.encoder(x), training=training))


def subclassed():
    model = Net()
    model(X)
    return model


MODELS = [functional, sequential, subclassed]


def trained(make, optimizer=None, **options):
    model = make()
    model.compile(optimizer or keras.optimizers.Adam(0.05), "mse", jit_compile=False, **options)
    model.train_on_batch(X, Y)
    return model


def values(session):
    return {name: np.array(session.read(name)) for name in session.specs}


# --- names ----------------------------------------------------------------------------------------


def test_names_are_places():
    first, second = functional(), functional()  # Keras numbers the layers of the second on
    names = set(ws.session_for(first).specs)
    assert set(ws.session_for(second).specs) == names
    assert names == {
        "block/scales/0", "block/scales/1", "block/inner/kernel", "block/inner/bias",
        "block/towers/dense/kernel", "block/towers/dense/bias",
        "block/towers/container/dense/kernel", "block/towers/container/dense/bias",
        "block/drop/seed_generator/seed_generator_state",
        "sequential/dense/kernel", "sequential/dense/bias",
        "sequential/batch_normalization/gamma", "sequential/batch_normalization/beta",
        "sequential/batch_normalization/moving_mean",
        "sequential/batch_normalization/moving_variance",
        "head/kernel", "head/bias", "dense/kernel", "dense/bias",
    }  # fmt: skip


def test_keras_own_names_are_aliases_where_they_are_unique():
    session = ws.session_for(functional())
    inner = session.model.get_layer("block").towers[0].kernel
    assert session.synonyms[inner.path] == "block/towers/dense/kernel"
    assert "block/scale" not in session.synonyms  # two have that path
    assert session.read(inner.path).shape == (4, 4)
    assert ws.freeze(session, inner.path).names == ("block/towers/dense/kernel",)


def test_a_name_that_is_ambiguous_is_an_error():
    class Same(L.Layer):
        def build(self, shape):
            for _ in range(2):
                self.add_weight(shape=(2,), name="w")

        def call(self, x):
            return x

    model = keras.Sequential([L.Input((4,)), L.Dense(4, name="dense"), Same(name="same")])
    with pytest.raises(ws.NameConflict, match=r"(?s)no name tells apart; give .*\n  same/w: .*/w"):
        dict(ws.session_for(model).specs)


def test_a_given_name_that_a_counted_one_equals_is_ambiguous():
    layers = [L.Reshape((4, 1)), L.Conv1D(2, 1, name="dense"), L.Flatten(), L.Dense(2)]
    model = keras.Sequential([L.Input((4,)), *layers])
    with pytest.raises(ws.NameConflict, match=r"dense/kernel: .*\(1, 1, 2\), .*\(8, 2\)"):
        dict(ws.session_for(model).specs)


def test_roles():
    model = trained(functional, metrics=["mae"])
    model.get_layer("head").trainable = False
    roles = {name: spec.role for name, spec in ws.session_for(model).specs.items()}
    assert roles["dense/kernel"] == "trainable"
    assert roles["head/kernel"] == roles["sequential/batch_normalization/moving_mean"] == "model"
    assert roles["dense/kernel/momentum"] == roles["dense/kernel/velocity"] == "slot"
    run = {name for name, role in roles.items() if role == "run"}
    assert run == {
        "optimizer/iteration", "optimizer/learning_rate", "metrics/loss/total",
        "metrics/loss/count", "metrics/mean_absolute_error/total",
        "metrics/mean_absolute_error/count", "block/drop/seed_generator/seed_generator_state",
    }  # fmt: skip
    with ws.freeze(model, "dense/kernel"):
        assert ws.session_for(model).specs["dense/kernel"].role == "model"


SLOTS = {
    "SGD": ({"momentum": 0.9}, {"momentum"}),
    "Adam": ({"use_ema": True}, {"momentum", "velocity", "average"}),
    "AdamW": ({"gradient_accumulation_steps": 2}, {"momentum", "velocity", "gradient_accumulator"}),
    "Adafactor": ({}, {"r", "c", "velocity"}),
    "Lion": ({}, {"momentum"}),
    "RMSprop": ({"momentum": 0.9, "centered": True}, {"velocity", "momentum", "average_gradient"}),
    "Nadam": ({}, {"momentum", "velocity"}),
    "Muon": ({}, {"momentum", "velocity"}),
}


@pytest.mark.parametrize("kind", SLOTS)
def test_slots_belong_to_their_variables(kind):
    options, expected = SLOTS[kind]
    model = functional()
    optimizer = getattr(keras.optimizers, kind)(**options)
    optimizer.build(model.trainable_variables)
    session = ws.session_for(model, optimizer=optimizer)
    found = {n.rpartition("/") for n, s in session.specs.items() if s.role == "slot"}
    assert {owner for owner, _, _ in found} == {
        n for n, s in session.specs.items() if s.role == "trainable"
    }
    assert {slot for _, _, slot in found} == expected
    assert len(optimizer.variables) == len(
        [n for n, s in session.specs.items() if s.role == "slot" or n.startswith("optimizer/")]
    )


def test_an_optimizer_of_another_framework_is_refused():
    with pytest.raises(TypeError, match="the optimizer is 'adam'; a Keras model takes a"):
        ws.session_for(sequential(), optimizer="adam")
    with pytest.raises(TypeError, match="a Keras model takes no option speed"):
        ws.session_for(sequential(), speed=3)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "end"), [(functional, "weights.h5"), (sequential, "weights.h5"), (sequential, "keras")]
)
def test_what_keras_saved_is_loaded_whole(make, end, tmp_path, caplog):
    keras.utils.set_random_seed(0)
    model = trained(make)
    path = tmp_path / f"m.{end}"
    {"keras": model.save, "weights.h5": model.save_weights}[end](path)
    expected = values(ws.session_for(model))
    other = make()
    other.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    session = ws.session_for(other)
    assert not other.optimizer.built
    report = ws.SmartInit(path).init(session)
    specs = session.specs
    assert report.missing == ()
    assert report.unused == ()
    assert report.slots.fresh == ()
    assert set(report.slots.kept) == {n for n, spec in specs.items() if spec.role == "slot"}
    assert [record for record in caplog.records if record.name == "warmstart"] == []
    for name, spec in specs.items():
        if spec.role != "run":
            np.testing.assert_array_equal(session.read(name), expected[name])
    assert {s.role for s in specs.values()} == {"trainable", "model", "slot", "run"}


def test_a_subclassed_model_finds_its_weights(tmp_path):
    model = trained(subclassed)
    model.save_weights(tmp_path / "m.weights.h5")
    with ws.open(tmp_path / "m.weights.h5") as source:  # Keras saves it by its place in `layers`
        assert "batch_normalization/gamma" in source.specs
    assert "norm/gamma" in ws.session_for(model).specs
    other = subclassed()
    assert ws.SmartInit(tmp_path / "m.weights.h5").init(other).missing == ()
    for mine, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_slots_by_number_are_not_believed_in_part(tmp_path):
    model = trained(sequential)
    model.save_weights(tmp_path / "m.weights.h5")
    other = keras.Sequential([L.Input((4,)), *sequential().layers, L.Dense(2, name="more")])
    other.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    other.optimizer.build(other.trainable_variables)
    report = ws.SmartInit(tmp_path / "m.weights.h5").init(other)
    assert not any("optimizer" in name or "moment" in name for name in report.loaded)


def test_layers_of_one_name_are_found_in_another_model(tmp_path):
    base = keras.Sequential([L.Input((4,)), L.Dense(3, name="hidden"), L.Dense(3, name="out")])
    base.save_weights(tmp_path / "m.weights.h5")
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(3, name="hidden"), L.Dense(3, name="more"), L.Dense(3, name="out")]
    )
    report = ws.SmartInit(tmp_path / "m.weights.h5").init(model)
    assert set(report.missing) == {"more/kernel", "more/bias"}
    np.testing.assert_array_equal(
        model.get_layer("out").get_weights()[0], base.get_layer("out").get_weights()[0]
    )


def test_many_variables_are_read_at_one_look(monkeypatch):
    session = ws.session_for(trained(sequential))
    alone = values(session)
    looks = []
    monkeypatch.setattr("warmstart.sessions.keras.session.sync", looks.append)
    with session.reading(), session.reading():
        together = values(session)
    assert len(looks) == 1
    np.testing.assert_equal(together, alone)
    session.read("dense/kernel")
    assert len(looks) == 2


def test_arrays_under_keras_own_names_are_taken():
    model = functional()
    arrays = {v.path: np.full(v.shape, 2.0, "float32") for v in model.get_layer("head").weights}
    report = ws.SmartInit(arrays, rules=["keep *"]).init(model)
    assert set(report.loaded) == {"head/kernel", "head/bias"}


# --- shapes without memory ------------------------------------------------------------------------


def test_an_unbuilt_model_is_refused_or_built_without_memory(tmp_path):
    with pytest.raises(ValueError, match=r"\(nor have .*sequential.*\): call model\.build"):
        ws.session_for(Net())
    with pytest.raises(ValueError, match="has no variables before it is built"):
        ws.session_for(keras.Sequential([*sequential().layers, L.Dense(2, name="more")]))
    saved = subclassed()
    saved.save_weights(tmp_path / "m.weights.h5")
    model = Net()
    session = ws.session_for(model, input_shape=(None, 4))
    assert session.specs["head/kernel"].shape == (4, 2)
    assert not any(has_value(v) for v in model.weights)
    with pytest.raises(ws.CheckpointError, match=r"'head/kernel' has no value yet: restore it"):
        session.read("head/kernel")
    rules = ["drop batch_normalization/*"]
    report = ws.SmartInit(tmp_path / "m.weights.h5", rules=rules).init(session)
    assert set(report.initialized) == {
        "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"
    }  # fmt: skip
    np.testing.assert_array_equal(session.read("head/kernel"), saved.head.get_weights()[0])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(X)), keras.ops.convert_to_numpy(saved(X)), 1e-5
    )
    model.compile(keras.optimizers.Adam(), "mse", jit_compile=False)
    model.train_on_batch(X, Y)
    with pytest.raises(ValueError, match=r"is built already, and its variables have memory"):
        ws.session_for(model, input_shape=(None, 4))


# --- state ----------------------------------------------------------------------------------------


def test_what_does_not_fit_is_all_named():
    session = ws.session_for(trained(sequential))
    state = session.state()
    assert state["backend"] == keras.config.backend()
    with pytest.raises(ws.ResumeError) as caught:
        session.load_state({**state, "backend": "mxnet", "optimizer": {"class": "SGD"}})
    text = str(caught.value)
    assert "backend: mxnet in the checkpoint, " in text
    assert "optimizer: SGD in the checkpoint, Adam here" in text


def test_the_generator_behind_operations_without_seeds_is_restored():
    session = ws.session_for(sequential())
    keras.random.uniform((2,))
    state = session.state()
    expected = keras.ops.convert_to_numpy(keras.random.uniform((3,))).copy()
    session.load_state(state)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.uniform((3,))), expected)
    with pytest.raises(ws.ResumeError, match=r"seeds: float32 \(3,\) in the checkpoint, u?int"):
        session.load_state({**state, "seeds": np.zeros(3, "float32")})


def test_other_options_of_the_optimizer_are_told(caplog):
    state = ws.session_for(trained(sequential)).state()
    other = ws.session_for(trained(sequential, keras.optimizers.Adam(0.05, beta_1=0.8)))
    other.load_state(state)
    assert "beta_1 was 0.9 and is 0.8" in caplog.text


# --- inference and layers -------------------------------------------------------------------------


def test_inference_is_that_of_the_model():
    start = {"a": L.Input((4,), name="a"), "b": L.Input((4,), name="b")}
    x = L.Dropout(0.5)(L.Concatenate()([start["a"], start["b"]]))
    model = keras.Model(start, {"sum": L.Dense(1)(x), "both": x})
    (both,) = ws.session_for(model).predictor(["b", "a"], ["both"])(X, 2 * X)
    np.testing.assert_array_equal(both, np.concatenate([2 * X, X], axis=1))
    with pytest.raises(ValueError, match=r"returns no max; it returns (both, sum|sum, both)"):
        ws.session_for(model).predictor(["b", "a"], ["max"])(X, X)
    with pytest.raises(TypeError, match="the inputs are b, a; 1 given"):
        ws.session_for(model).predictor(["b", "a"], None)(X)
    (out,) = ws.session_for(sequential()).predictor(None, None)(X)
    assert out.shape == (3, 2)


def test_layers_say_their_kinds():
    start = L.Input((6, 4))
    attended = L.MultiHeadAttention(2, 2, name="mha")(start, start)
    x = L.Bidirectional(L.GRU(3, name="gru"), name="bi")(L.LayerNormalization(name="ln")(attended))
    model = keras.Model(start, L.Dense(2, name="head")(x))
    found = {layer.path: layer for layer in ws.session_for(model).layers()}
    assert {path: layer.kind for path, layer in found.items()} == {
        "mha": "multi_head_attention", "ln": "layer_norm", "bi": "gru", "head": "dense"
    }  # fmt: skip
    assert found["mha"].variables["query/kernel"] == "mha/query_dense/kernel"
    assert found["mha"].variables["attention_output/bias"] == "mha/output_dense/bias"
    assert dict(found["mha"].options) == {"heads": 2}
    assert "forward_layer/cell/recurrent_kernel" in found["bi"].variables
    assert found["bi"].options == {"layers": 1, "bidirectional": True, "reset_after": True}


def test_layers_of_pytorch_are_carried_over():
    torch = pytest.importorskip("torch")
    module = torch.nn.ModuleDict({"hidden": torch.nn.Linear(4, 3), "norm": torch.nn.BatchNorm1d(3)})
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(3, name="hidden"), L.BatchNormalization(epsilon=1e-5, name="norm")]
    )
    assert ws.SmartInit(ws.session_for(module)).init(model).missing == ()
    with torch.no_grad():
        expected = module["norm"].eval()(module["hidden"](torch.tensor(X))).numpy()
    np.testing.assert_allclose(model.predict_on_batch(X), expected, 1e-5, 1e-6)
