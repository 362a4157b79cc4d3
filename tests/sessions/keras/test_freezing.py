"""What is frozen does not move, in Keras' own `fit`, with momentum and averages from before."""

import keras
import numpy as np
import pytest

import warmstart as ws

STATISTICS = ["norm/moving_mean", "norm/moving_variance"]


def moved(before, after):
    return {name for name in before if after[name] != before[name]}


def test_nothing_of_a_frozen_layer_moves(compiled, fit, bits, make_optimizer):
    model = compiled(make_optimizer())
    fit(model)  # compiled, and with momentum
    session = ws.session_for(model)
    first = bits(session)
    frozen = ws.freeze(model, ["embedding/*", "hidden/*", "norm/*", "spectral/*"])
    fit(model, 3)
    after = bits(session)
    still = set(frozen.names) | {n for n in first if n.rpartition("/")[0] in frozen.names}
    assert moved(first, after) & still == set()
    assert {"head/kernel", "head/bias"} <= moved(first, after)
    frozen.verify()
    frozen.thaw()
    fit(model)
    weights = {n for n, s in session.specs.items() if s.role == "trainable"}
    assert weights <= moved(after, bits(session))
    assert set(STATISTICS) | {"spectral/vector_u"} <= moved(after, bits(session))


def test_rows_stay_and_the_others_train(compiled, fit, bits, make_optimizer):
    model = compiled(make_optimizer())
    fit(model)
    session = ws.session_for(model)
    frozen = ws.freeze(model, {"embedding/embeddings": np.s_[:5], "head/kernel": np.s_[:, 0]})
    before = {name: np.array(session.read(name)) for name in session.specs}
    fit(model, 3)
    table, kernel = session.read("embedding/embeddings"), session.read("head/kernel")
    np.testing.assert_array_equal(table[:5], before["embedding/embeddings"][:5])
    np.testing.assert_array_equal(kernel[:, 0], before["head/kernel"][:, 0])
    assert (table[5:] != before["embedding/embeddings"][5:]).any(axis=1).all()
    assert (kernel[:, 1] != before["head/kernel"][:, 1]).all()
    slots = [n for n, s in session.specs.items() if n.startswith("embedding/embeddings/")]
    for name in slots:
        if session.specs[name].shape == table.shape:
            np.testing.assert_array_equal(session.read(name)[:5], before[name][:5])
    frozen.verify()
    frozen.thaw()
    fit(model)
    assert (session.read("embedding/embeddings")[:5] != before["embedding/embeddings"][:5]).any()


@pytest.mark.parametrize(
    "options", [{"jit_compile": True}, {"run_eagerly": True}, {"jit_compile": False}], ids=str
)
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # Keras' own, under torch.compile
def test_however_the_step_is_compiled(compiled, fit, bits, options):
    model = compiled(keras.optimizers.AdamW(0.05, weight_decay=0.1), **options)
    fit(model)
    frozen = ws.freeze(model, ["hidden/*", "norm/*", "spectral/*"])
    rows = ws.freeze(model, {"embedding/embeddings": np.s_[:5]})
    before = bits(ws.session_for(model))
    fit(model)
    frozen.verify()
    rows.verify()
    after = bits(ws.session_for(model))
    assert {"head/kernel", "embedding/embeddings"} <= moved(before, after)


def test_mixed_precision(fit, bits):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.layers.Input((3,)), keras.layers.Dense(4, name="a"),
             keras.layers.BatchNormalization(name="n"), keras.layers.Dense(2, name="b")]
        )  # fmt: skip
        optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
        model.compile(optimizer, "mse")
    finally:
        keras.config.set_dtype_policy("float32")
    fit(model)
    frozen = ws.freeze(model, ["a/*", "n/*"])
    rows = ws.freeze(model, {"b/kernel": np.s_[0]})
    before = bits(ws.session_for(model))
    fit(model)
    frozen.verify()
    rows.verify()
    assert {"b/kernel", "b/bias"} <= moved(before, bits(ws.session_for(model)))


def test_a_frozen_norm_normalises_with_what_it_has_stored(compiled):
    norm = (model := compiled(keras.optimizers.SGD(0.1))).get_layer("norm")
    x = np.arange(12, dtype="float32").reshape(2, 6)

    def called(**options):
        return keras.ops.convert_to_numpy(norm(x, **options)).copy()

    inferred = called(training=False)
    frozen = ws.freeze(model, "norm/*")
    np.testing.assert_array_equal(called(training=True), inferred)
    frozen.thaw()
    assert not np.array_equal(called(training=True), inferred)


def test_statistics_move_if_asked_to(compiled, fit, bits):
    model = compiled(keras.optimizers.AdamW(0.05))
    fit(model)
    before = bits(ws.session_for(model))
    frozen = ws.freeze(model, "norm/*", train_statistics=True)
    assert set(frozen.names) == {"norm/gamma", "norm/beta"}
    fit(model)
    frozen.verify()
    assert set(STATISTICS) <= moved(before, bits(ws.session_for(model)))


def test_statistics_belong_to_their_scale(compiled):
    model = compiled("sgd")
    assert set(ws.freeze(model, "norm/gamma").names) == {"norm/gamma", *STATISTICS}
    assert set(ws.freeze(model, "norm/beta").names) == {"norm/beta"}
    assert set(ws.freeze(model, "norm/moving_mean").names) == set(STATISTICS)


def test_an_optimizer_made_later_finds_them_frozen(compiled, fit, bits):
    model = compiled("sgd")
    frozen = ws.freeze(model, "hidden/*")
    model.compile(keras.optimizers.AdamW(0.05, weight_decay=0.1), "mse", jit_compile=False)
    fit(model)
    frozen.verify()
    before = bits(ws.session_for(model))
    frozen.thaw()  # the optimizer knows of them
    fit(model)
    assert "hidden/kernel" in moved(before, bits(ws.session_for(model)))


def test_a_loop_of_ones_own(compiled, bits):
    model = compiled("sgd")
    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    session = ws.session_for(model, optimizer=optimizer)
    frozen = ws.freeze(session, "hidden/*")
    before = bits(session)
    gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
    optimizer.apply(gradients, model.trainable_variables)
    frozen.verify()
    assert {"head/kernel", "optimizer/iteration"} <= moved(before, bits(session))
    everything = ws.freeze(session, "*")
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    everything.verify()
    assert session.read("optimizer/iteration") == 2


@pytest.fixture
def around(fit):
    """A model that was trained already, and one of its layers, a model too."""
    keras.utils.set_random_seed(0)
    dense, norm = keras.layers.Dense(6, name="dense"), keras.layers.BatchNormalization(name="norm")
    inner = keras.Sequential([keras.layers.Input((3,)), dense, norm], name="inner")
    outer = keras.Sequential([keras.layers.Input((3,)), inner, keras.layers.Dense(2, name="head")])
    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.1)
    outer.compile(optimizer, "mse", jit_compile=keras.config.backend() == "jax")
    fit(outer)
    return outer, inner


def test_a_step_compiled_by_the_model_around_it(around, fit, bits):
    outer, inner = around
    frozen = ws.freeze(inner, "*")
    fit(outer)
    frozen.verify()
    before = bits(ws.session_for(outer))
    frozen.thaw()
    fit(outer)
    assert {"inner/dense/kernel", "inner/norm/moving_mean"} <= moved(
        before, bits(ws.session_for(outer))
    )


def step_of_tensorflow(model, x, y):
    import tensorflow as tf

    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.1)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    return step


def step_of_jax(model, x, y):
    import jax

    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.1)
    optimizer.build(model.trainable_variables)

    def loss(trained, kept):
        out, kept = model.stateless_call(trained, kept, x, training=True)
        return ((out - y) ** 2).mean(), kept

    @jax.jit
    def compiled(trained, kept, slots):
        gradients, kept = jax.grad(loss, has_aux=True)(trained, kept)
        return *optimizer.stateless_apply(slots, gradients, trained), kept

    def step():
        lists = model.trainable_variables, model.non_trainable_variables, optimizer.variables
        trained, slots, kept = compiled(*([v.value for v in each] for each in lists))
        for variables, values in zip(lists, (trained, kept, slots), strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    return step


def step_of_torch(model, x, y):
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), 0.05, weight_decay=0.1)

    def step():
        optimizer.zero_grad(set_to_none=False)
        (model(x, training=True) - torch.from_numpy(y)).square().mean().backward()
        optimizer.step()

    return step


def test_a_loop_compiled_before(around, bits):
    model, _ = around
    steps = {"tensorflow": step_of_tensorflow, "jax": step_of_jax, "torch": step_of_torch}
    x = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    step = steps[keras.config.backend()](model, x, np.cos(x[:, :2]))
    step()
    frozen = ws.freeze(model, {"inner/*": ..., "head/kernel": np.s_[:2]})
    before = bits(ws.session_for(model))
    step()
    step()
    frozen.verify()
    assert {"head/kernel", "head/bias"} <= moved(before, bits(ws.session_for(model)))
    frozen.thaw()
    step()
    now = moved(before, bits(ws.session_for(model)))
    assert {"inner/dense/kernel", "inner/norm/moving_mean"} <= now


def test_slots_of_rows_stay_beside_a_whole_layer_that_stays(compiled, fit):
    optimizer = keras.optimizers.AdamW(0.05, weight_decay=0.1, use_ema=True, ema_momentum=0.5)
    model = compiled(optimizer)
    fit(model)
    session = ws.session_for(model)
    with ws.freeze(model, {"hidden/*": ..., "head/kernel": np.s_[:, 0]}):
        names = [n for n in session.specs if n.startswith("head/kernel")]
        before = {name: np.array(session.read(name)) for name in names}
        fit(model)
    assert len(names) == 4
    for name in names:
        np.testing.assert_array_equal(session.read(name)[:, 0], before[name][:, 0], err_msg=name)


def test_keras_has_its_own_methods_back(compiled):
    from keras.src.optimizers.base_optimizer import BaseOptimizer

    own = BaseOptimizer.apply, BaseOptimizer.finalize_variable_values
    model = compiled("sgd")
    with ws.freeze(model, "hidden/*"), ws.freeze(model, {"head/kernel": np.s_[0]}):
        assert BaseOptimizer.apply is not own[0]
    assert (BaseOptimizer.apply, BaseOptimizer.finalize_variable_values) == own
    assert all("assign" not in vars(v) for v in model.variables)
    assert all("call" not in vars(layer) for layer in model.layers)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="variables of TensorFlow")
def test_a_thaw_leaves_what_else_is_frozen_in_tensorflow(compiled, bits):
    import tensorflow as tf

    module = tf.Module()
    module.w = tf.Variable([1.0, 2.0])
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    optimizer.build([module.w])
    session = ws.session_for(module, optimizer=optimizer)
    first = ws.freeze(compiled("sgd"), "hidden/*")
    frozen = ws.freeze(session, "w")
    first.thaw()
    before = bits(session)
    optimizer.apply([tf.ones(2)], [module.w])
    frozen.verify()
    assert {"w/momentum", "w/velocity"}.isdisjoint(moved(before, bits(session)))


def test_freezings_overlap(compiled, fit):
    model = compiled(keras.optimizers.AdamW(0.05, weight_decay=0.1))
    fit(model)
    outer = ws.freeze(model, ["hidden/*", "norm/*"])
    with ws.freeze(model, ["norm/*", "head/*"]):
        pass
    fit(model)
    outer.verify()
    first = ws.freeze(model, {"embedding/embeddings": np.s_[:3]})
    second = ws.freeze(model, {"embedding/embeddings": np.s_[2:6]})
    fit(model)
    first.verify()
    second.verify()


def test_what_is_assigned_on_purpose_is_taken(compiled, bits):
    model = compiled("sgd")
    frozen = ws.freeze(model, "hidden/*")
    model.get_layer("hidden").set_weights([np.ones((12, 6)), np.ones(6)])
    assert model.get_layer("hidden").bias.numpy().tolist() == [1.0] * 6
    with pytest.raises(ws.FreezeError, match="2 of 2 frozen variables moved"):
        frozen.verify()


def test_state_is_not_frozen_by_itself(compiled, fit):
    model = compiled("adam")
    fit(model, 1)
    session = ws.session_for(model)
    with pytest.raises(ws.FreezeError, match=r"state of the optimizer or of the run; that of a"):
        session.freeze(["head/kernel/momentum"])
    with pytest.raises(ws.NoSuchTensor, match="no tensor 'nothing'"):
        session.freeze(["nothing"])
    with pytest.raises(ws.FreezeError, match="train_statistics=True lets them move"):
        ws.freeze(model, "norm/moving_*", train_statistics=True)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only it keeps traces")
def test_a_trace_that_would_move_what_is_held_is_refused(compiled):
    import tensorflow as tf

    model = compiled(keras.optimizers.SGD(0.05))

    @tf.function
    def halve():
        model.get_layer("head").kernel.assign(model.get_layer("head").kernel / 2)

    kept = halve.get_concrete_function()
    with pytest.raises(ws.FreezeError, match=r"halve.*: already traced, and would move head/k"):
        ws.freeze(model, "head/kernel")
    assert "head/kernel" in ws.session_for(model).optimized()
    del kept
    assert ws.freeze(model, "head/kernel").names == ("head/kernel",)
