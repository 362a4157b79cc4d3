"""JaxModel: what it is given, what its loss may return, and going on where it was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import warmstart as ws
from warmstart.errors import CheckpointError, ResumeError, RuleError

TREE = {"w": jnp.ones(2), "b": jnp.ones(2)}
SGD = optax.sgd(0.1)


def sum_of(tree, batch):
    return (tree["w"] * batch).sum() + tree["b"].sum()


def tree_model(loss=sum_of, **options):
    return ws.JaxModel(TREE, loss=loss, optimizer=SGD, **options)


def test_a_step_is_that_of_optax():
    model = tree_model()
    assert model.train_step(jnp.full(2, 3.0)) == {"loss": 8.0}
    assert model.session.tree["w"].tolist() == pytest.approx([0.7, 0.7])
    assert TREE["w"].tolist() == [1, 1]


def test_a_step_of_a_module_is_that_of_nnx(net, models):
    twin = models.Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(twin, optax.adamw(0.1), wrt=nnx.Param)
    model = ws.JaxModel(net, loss=models.nnx_loss, optimizer=optax.adamw(0.1))

    @nnx.jit
    def step(twin, optimizer):
        loss, gradients = nnx.value_and_grad(models.nnx_loss)(twin, models.INPUTS)
        optimizer.update(twin, gradients)
        return loss

    for _ in range(3):
        assert model.train_step(models.INPUTS)["loss"] == float(step(twin, optimizer))
    ours, theirs = ws.session_for(net), ws.session_for(twin)
    for name in ours.specs:
        np.testing.assert_array_equal(ours.read(name), theirs.read(name))


def test_a_module_may_bring_its_optimizer(net, models):
    only = nnx.All(nnx.Param, nnx.PathContains("norm"))
    optimizer = nnx.Optimizer(net, optax.adam(0.1), wrt=only)
    model = ws.JaxModel(net, loss=models.nnx_loss, optimizer=optimizer)
    kernel = np.array(model.session.read("layers/0/kernel"))
    model.train_step(models.INPUTS)
    assert (kernel == model.session.read("layers/0/kernel")).all()
    assert optimizer.step[...] == 1


def test_a_train_state_brings_all(models):
    variables = models.linen_variables()

    class State(TrainState):
        batch_stats: object

    state = State.create(
        apply_fn=models.linen_net.apply, params=variables["params"], tx=optax.adam(0.1),
        batch_stats=variables["batch_stats"],
    )  # fmt: skip

    def loss(state, batch, key):
        collections = {"params": state.params, "batch_stats": state.batch_stats}
        return models.linen_loss(collections, batch, key)

    model = ws.JaxModel(state, loss=loss, key=jax.random.key(0))
    metrics = model.train_step(models.INPUTS)
    new = model.session.tree
    assert metrics.keys() == {"loss", "mean"}
    assert new.step == 1
    assert new.opt_state[0].count == 1
    assert new.batch_stats["BatchNorm_0"]["mean"].any()


def test_each_step_has_a_key_of_its_own_and_goes_on_from_a_saved_one():
    def noise(tree, batch, key):
        return (tree["w"] ** 2).sum() + jax.random.normal(key)

    model, other = tree_model(noise, key=jax.random.key(0)), tree_model(noise,
        key=jax.random.key(7))  # fmt: skip
    first = model.train_step(0)["loss"] - 2
    state = model.state()
    second = model.train_step(0)["loss"]
    assert first != second
    other.session.tree = {"w": jnp.full(2, 0.8), "b": jnp.ones(2)}
    other.load_state(state)
    assert other.train_step(0)["loss"] == pytest.approx(second)
    with pytest.raises(ResumeError, match="had a random key of threefry2x32, this model has one"):
        tree_model().load_state(state)
    assert tree_model().state() == {}


def test_it_is_compiled_anew_only_when_what_is_frozen_changes():
    traces = []

    def counted(tree, batch):
        traces.append(1)
        return sum_of(tree, batch)

    model = tree_model(counted)
    for _ in range(3):
        model.train_step(jnp.ones(2))
    assert len(traces) == 1
    with ws.freeze(model, "w"):
        for _ in range(3):
            model.train_step(jnp.ones(2))
    assert len(traces) == 2


def test_gradient_processors_see_gradients_by_name(net, models, capsys):
    def processors():
        return [
            ws.ScaleGradient([(".*norm/scale|.*/scale|w", 0)]),
            ws.MapGradient(lambda gradient: gradient * 0 + 1, ".*bias|b"),
            ws.MapGradient(lambda gradient, variable: variable * 0 + 2, ".*layers/1/kernel|rest"),
            ws.SummaryGradient(),
            ws.CheckGradient(),
        ]

    model = ws.JaxModel(net, loss=models.nnx_loss, optimizer=SGD, gradprocs=processors())
    before = {n: np.array(model.session.read(n)) for n in model.session.specs}
    model.train_step(models.INPUTS)
    after = {n: model.session.read(n) for n in before}
    assert (before["norm/scale"] == after["norm/scale"]).all()
    np.testing.assert_allclose(before["norm/bias"] - after["norm/bias"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(before["layers/1/kernel"] - after["layers/1/kernel"], 0.2, rtol=1e-5)
    assert model.gradprocs[3].measured()["norm/bias-grad/rms"] == 1
    tree = {"w": jnp.ones(2), "b": jnp.ones(2), "rest": jnp.ones(2)}
    model = ws.JaxModel(tree, loss=lambda t, b: sum_of(t, b) + t["rest"].sum(),
                        optimizer=optax.adam(0.1), gradprocs=processors())  # fmt: skip
    model.train_step(jnp.ones(2))
    assert model.session.read("w").tolist() == [1, 1]
    assert model.session.read("w/mu").tolist() == [0, 0]
    assert model.gradprocs[3].measured() == {"b-grad/rms": 1, "rest-grad/rms": 2}


def test_gradients_are_clipped_together():
    model = tree_model(gradprocs=[ws.GlobalNormClip(1.0)])
    model.train_step(jnp.full(2, 3.0))
    new = model.session.tree
    moved = np.concatenate([1 - new["w"], 1 - new["b"]])
    assert np.linalg.norm(moved) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", ["tree", "module"])
def test_what_a_watcher_raises_comes_before_anything_moves(kind):
    def loss(model, batch):
        return (jnp.sqrt(model["w"] - 1) if kind == "tree" else jnp.sqrt(model.kernel * 0)).sum()

    module = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    model = ws.JaxModel(
        TREE if kind == "tree" else module, loss=loss, optimizer=SGD,
        gradprocs=[ws.CheckGradient()],
    )  # fmt: skip
    before = {n: np.array(model.session.read(n)) for n in model.session.specs}
    with pytest.raises(FloatingPointError, match=r"the gradient of '(w|kernel)' has"):
        model.train_step(0)
    for name, value in before.items():
        np.testing.assert_array_equal(model.session.read(name), value)


def test_a_rule_for_gradients_that_means_none_is_an_error(net, models):
    for model in (
        tree_model(gradprocs=[ws.ScaleGradient(("encoder/.*", 0))]),
        ws.JaxModel(net, loss=models.nnx_loss, optimizer=SGD,
                    gradprocs=[ws.ScaleGradient(("encoder/.*", 0))]),
    ):  # fmt: skip
        with pytest.raises(RuleError, match="match none of"):
            model.train_step(jnp.ones(2))


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (lambda tree: tree["w"], ValueError, r"returned an array of shape \(2,\); expected a numb"),
        (lambda tree: (tree["w"].sum(), 3), TypeError, "returned a int beside the loss; expected"),
        (
            lambda tree: (tree["w"].sum(), {"out": tree["w"]}),
            ValueError,
            r"returned 'out' \(.*\) beside the loss; a metric is a number",
        ),
        (
            lambda tree: (tree["w"].sum(), {"b": {"c": 1.0}}),
            ValueError,
            "returned 'b' with b/c; expected the kept variables b",
        ),
    ],
)
def test_a_loss_says_what_is_wrong_with_it(returned, error, message):
    with pytest.raises(error, match=message):
        tree_model(lambda tree, batch: returned(tree)).train_step(0)


def test_what_cannot_be_trained_is_refused(net, models):
    with pytest.raises(TypeError, match=r"expected a typed one, as jax\.random\.key"):
        tree_model(key=jax.random.PRNGKey(0))
    with pytest.raises(TypeError, match="by itself: no key=, predict="):
        ws.JaxModel(net, loss=models.nnx_loss, optimizer=SGD, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"or an nnx\.Optimizer, not 3"):
        ws.JaxModel(net, loss=models.nnx_loss, optimizer=3)
    with pytest.raises(
        TypeError, match=r"an optax transformation, such as .*, not a tuple; its state"
    ):
        ws.JaxModel(TREE, loss=sum_of, optimizer=(1, 2))
    with pytest.raises(TypeError, match=r"a tree with jax\.Array leaves, not a dict"):
        ws.JaxModel({"w": np.ones(2)}, loss=sum_of, optimizer=SGD)
    state = nnx.state(net, nnx.Param)
    with pytest.raises(TypeError, match="holds variables of NNX: give JaxModel the module"):
        ws.JaxModel(state, loss=sum_of, optimizer=SGD).train_step(0)


def test_an_abstract_model_is_restored_before_it_is_trained(net, models):
    abstract = jax.eval_shape(lambda: TREE)
    model = ws.JaxModel(abstract, loss=sum_of, optimizer=optax.adam(0.1))
    with pytest.raises(CheckpointError, match=r"b, w.*: no value yet, since the model is abstract"):
        model.train_step(jnp.ones(2))
    ws.DictRestore({n: np.ones(2, np.float32) for n in TREE}).init(model)
    assert model.train_step(jnp.ones(2)) == {"loss": 4.0}
    module = nnx.eval_shape(lambda: models.Net(nnx.Rngs(0)))
    with pytest.raises(CheckpointError, match="no value yet, since the model is abstract"):
        ws.JaxModel(module, loss=models.nnx_loss, optimizer=SGD).train_step(models.INPUTS)


def test_a_run_that_was_stopped_goes_on_bit_for_bit(models, tmp_path):
    def run(folder, epochs):
        model = ws.JaxModel(
            models.linen_variables(), loss=models.linen_loss, optimizer=optax.adamw(0.1),
            key=jax.random.key(3),
        )  # fmt: skip
        ws.logger.set_logger_dir(tmp_path / folder)
        data = ws.Batches((np.array(models.INPUTS),), batch_size=2)
        ws.launch_train(
            ws.AutoResumeTrainConfig(
                model=Unpacked(model), data=data, callbacks=[ws.ModelSaver()], max_epoch=epochs
            )
        )
        return {n: np.array(model.session.read(n)) for n in model.session.specs}

    straight = run("straight", 3)
    run("stopped", 1)
    for name, value in run("stopped", 3).items():
        np.testing.assert_array_equal(value, straight[name])


class Unpacked:
    """A JaxModel whose batches are arrays, where the data give tuples of one."""

    def __init__(self, model):
        self.model = model
        self.session, self.state, self.load_state = model.session, model.state, model.load_state

    def train_step(self, batch):
        return self.model.train_step(batch[0])
