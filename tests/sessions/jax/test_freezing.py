"""What is frozen does not move, bit for bit, in the user's own loop and in JaxModel."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import warmstart as ws
from warmstart.errors import FreezeError

ADAMW = optax.adamw(0.05, weight_decay=0.1)


@nnx.jit
def step(module, optimizer, batch):
    optimizer.update(module, nnx.grad(lambda module: (module(batch) ** 2).mean())(module))


def values(session):
    return {name: np.array(session.read(name)) for name in session.specs}


def moved(before, session):
    """Return the variables that are not, bit for bit, what they were."""
    return {n for n, old in before.items() if old.tobytes() != session.read(n).tobytes()}


@pytest.fixture
def training(net, models):
    """Return a session, and what takes some steps of the user's own loop."""
    optimizer = nnx.Optimizer(net, ADAMW, wrt=nnx.Param)
    session = ws.session_for(net, optimizer=optimizer)

    def train(steps=2, optimizer=optimizer):
        for _ in range(steps):
            step(net, optimizer, models.INPUTS)

    train()
    return session, train


def test_a_frozen_norm_layer_stays_with_its_slots_and_statistics(training):
    session, train = training
    frozen = ws.freeze(session, "norm/scale")
    assert set(frozen.names) == {"norm/scale", "norm/mean", "norm/var"}
    assert session.specs["norm/scale"].role == "model"
    before = values(session)
    train()
    still = before.keys() - moved(before, session)
    assert {"norm/scale", "norm/scale/mu", "norm/scale/nu", "norm/mean", "norm/var"} <= still
    assert {"norm/bias", "norm/bias/mu", "layers/1/bias"} <= moved(before, session)
    frozen.verify()
    frozen.thaw()
    frozen.thaw()  # once more does nothing
    train()
    assert {"norm/scale", "norm/scale/mu", "norm/mean"} <= moved(before, session)


def test_statistics_train_where_that_is_asked_for(training):
    session, train = training
    frozen = ws.freeze(session, "norm/*", train_statistics=True)
    assert set(frozen.names) == {"norm/scale", "norm/bias"}
    before = values(session)
    train()
    assert {"norm/mean", "norm/var"} <= moved(before, session)
    assert not {"norm/scale", "norm/bias"} & moved(before, session)
    with pytest.raises(FreezeError, match="norm/mean: statistics, and train_statistics=True lets"):
        ws.freeze(session, "norm/mean", train_statistics=True)


def test_a_frozen_norm_layer_runs_in_inference_mode(net):
    with ws.freeze(net, "norm/*"):
        held = net.norm(jnp.ones((2, 4)), use_running_average=False)
        assert (held == net.norm(jnp.ones((2, 4)))).all()
    assert type(net.norm) is nnx.BatchNorm


def test_rows_stay_with_their_slots_and_the_others_train(training):
    session, train = training
    frozen = ws.freeze(session, {"layers/1/kernel": np.s_[:2]})
    before = values(session)
    train()
    frozen.verify()
    for name in ("layers/1/kernel", "layers/1/kernel/mu", "layers/1/kernel/nu"):
        same = before[name] == session.read(name)
        assert same[:2].all()
        assert not same[2:].any()


def test_several_freezings_of_one_variable_hold_together(training):
    session, train = training
    rows = ws.freeze(session, {"layers/1/kernel": np.s_[:1]})
    other = ws.freeze(session, {"layers/1/kernel": np.s_[2:]})
    before = values(session)
    train()
    same = (before["layers/1/kernel"] == session.read("layers/1/kernel")).all(axis=1)
    assert same.tolist() == [True, False, True, True]
    other.thaw()
    train()
    rows.verify()
    assert not (before["layers/1/kernel"] == session.read("layers/1/kernel"))[2:].any()


def test_two_freezings_of_a_layer_both_hold_its_statistics(training):
    session, train = training
    first, second = ws.freeze(session, "norm/*"), ws.freeze(session, "norm/*")
    before = values(session)
    first.thaw()
    train()
    second.verify()
    assert not {"norm/mean", "norm/scale"} & moved(before, session)


def test_an_optimizer_made_later_does_not_move_it(training, net):
    session, train = training
    frozen = ws.freeze(session, ["layers/*", "tied"])
    train(optimizer=nnx.Optimizer(net, ADAMW, wrt=nnx.Param))
    frozen.verify()


def test_slots_of_an_optimizer_made_while_it_was_frozen_are_held_later(net, models):
    with ws.freeze(net, "norm/*"):
        optimizer = nnx.Optimizer(net, ADAMW, wrt=nnx.Param)
    session = ws.session_for(net, optimizer=optimizer)
    step(net, optimizer, models.INPUTS)
    frozen = ws.freeze(session, "norm/*")
    before = values(session)
    step(net, optimizer, models.INPUTS)
    assert not [name for name in moved(before, session) if name.startswith("norm/")]
    frozen.thaw()
    step(net, optimizer, models.INPUTS)
    assert {"norm/scale", "norm/scale/mu"} <= moved(before, session)


def test_nothing_but_the_session_sets_it(net):
    frozen = ws.freeze(net, "norm/scale")
    params = nnx.state(net, nnx.Param)
    nnx.update(net, jax.tree.map(lambda value: value + 1, params))
    net.norm.scale[...] = jnp.zeros(4)
    assert net.norm.scale[...].tolist() == [1, 1, 1, 1]
    ws.session_for(net).assign([("norm/scale", np.full(4, 5, np.float32))])
    assert net.norm.scale[...].tolist() == [5, 5, 5, 5]
    frozen.verify()


def test_it_stays_without_jit_and_under_jax_jit(training, net, models):
    session, _ = training
    optimizer = session.optimizer
    frozen = ws.freeze(session, "layers/*")
    gradients = nnx.grad(lambda module: (module(models.INPUTS) ** 2).mean())(net)
    assert not gradients["layers"][0]["kernel"][...].any()
    optimizer.update(net, gradients)
    definition, state = nnx.split((net, optimizer))

    @jax.jit
    def pure(state):
        net, optimizer = nnx.merge(definition, state)
        step(net, optimizer, models.INPUTS)
        return nnx.state((net, optimizer))

    nnx.update((net, optimizer), pure(state))
    frozen.verify()


def test_a_gradient_that_does_not_count_does_not_clip_the_others():
    def movement_of_bias(freeze):
        module = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
        clip = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0))
        session = ws.session_for(module, optimizer=nnx.Optimizer(module, clip, wrt=nnx.Param))
        if freeze:
            ws.freeze(session, "kernel")
        step(module, session.optimizer, jnp.full((1, 1), 1000.0))
        return abs(float(session.read("bias")[0]))

    assert movement_of_bias(freeze=True) == 1.0
    assert movement_of_bias(freeze=False) < 0.01


@pytest.mark.parametrize("wrap", [nnx.SpectralNorm, nnx.WeightNorm])
def test_a_layer_that_rewrites_its_weights_gives_them_back(wrap):
    module = wrap(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
    expected = wrap(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
    x = jnp.arange(6.0).reshape(2, 3)
    session = ws.session_for(module, optimizer=nnx.Optimizer(module, ADAMW, wrt=nnx.Param))
    frozen = ws.freeze(session, "layer_instance/kernel")
    before = values(session)
    np.testing.assert_allclose(module(x), expected(x), rtol=1e-6)
    step(module, session.optimizer, x)
    frozen.verify()
    assert moved(before, session) >= {"layer_instance/bias"}
    assert not [n for n in moved(before, session) if "batch_stats" in n]


def test_what_cannot_be_held_is_named():
    module = nnx.WeightNorm(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    (bare,) = [n for n in ws.session_for(module).specs if n.startswith("scales")]
    with pytest.raises(FreezeError, match="a bare array of the module; as an nnx"):
        ws.freeze(module, [bare])
    by_reference = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    by_reference.kernel = nnx.Param(jnp.ones((2, 3)), ref=True)
    with pytest.raises(FreezeError, match="kernel: a variable by reference"):
        ws.freeze(by_reference, "kernel")
    assert type(by_reference.bias) is nnx.Param


def test_slots_are_not_frozen_by_themselves(training):
    session, _ = training
    with pytest.raises(FreezeError, match="norm/scale/mu: state of the optimizer; it stays"):
        session.freeze(["norm/scale/mu"])


def test_it_is_traced_anew_when_what_is_frozen_changes_and_not_before(net, models):
    optimizer = nnx.Optimizer(net, ADAMW, wrt=nnx.Param)
    traces = []

    @nnx.jit
    def counted(module, optimizer):
        traces.append(1)
        optimizer.update(module, nnx.grad(lambda m: (m(models.INPUTS) ** 2).mean())(module))

    for _ in range(3):
        counted(net, optimizer)
    with ws.freeze(ws.session_for(net, optimizer=optimizer), "norm/*"):
        for _ in range(3):
            counted(net, optimizer)
        assert len(traces) == 2
    counted(net, optimizer)
    assert len(traces) == 2  # what was compiled first is there still


TRANSFORMATIONS = {
    "momentum": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.05, momentum=0.9)),
    "adam": lambda: optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.05)),
    "adamw": lambda: ADAMW,
    "adafactor": lambda: optax.adafactor(0.05, min_dim_size_to_factor=2, weight_decay_rate=0.1),
    "accumulated": lambda: optax.MultiSteps(ADAMW, 2),
    "on plateau": lambda: optax.chain(optax.adam(0.05), optax.contrib.reduce_on_plateau()),
}


def models_of(kind, models, transformation):
    if kind == "nnx":
        net = models.Net(nnx.Rngs(0))
        return ws.JaxModel(net, loss=models.nnx_loss, optimizer=transformation), {
            "norm/*": ..., "layers/0/kernel": ..., "layers/1/kernel": np.s_[1:3],
        }  # fmt: skip
    return ws.JaxModel(
        models.linen_variables(), loss=models.linen_loss, optimizer=transformation,
        key=jax.random.key(0),
    ), {
        "params/BatchNorm_0/*": ..., "params/Dense_0/kernel": ...,
        "params/Dense_1/kernel": np.s_[1:3],
    }  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMATIONS)
@pytest.mark.parametrize("kind", ["nnx", "linen"])
def test_in_jax_model_nothing_frozen_moves(kind, name, models):
    model, patterns = models_of(kind, models, TRANSFORMATIONS[name]())
    for _ in range(3):
        model.train_step(models.INPUTS)
    session = model.session
    frozen = ws.freeze(model, patterns)
    before = values(session)
    for _ in range(4):
        model.train_step(models.INPUTS)
    frozen.verify()
    whole = [n for n in frozen.names if n not in frozen.regions]
    assert len(whole) >= 5  # with the statistics
    slots = {n for n in before if any(n.startswith(f"{owner}/") for owner in whole)}
    assert not (set(whole) | slots) & moved(before, session)
    (rows,) = frozen.regions
    same = before[rows] == session.read(rows)
    assert same[1:3].all()
    assert not same[[0, 3]].any()


def test_tiny_numbers_and_odd_bits_stay(models):
    bits = np.array([1, 0x80000000, 0x7FC00001, 0x00400000], np.uint32).view(np.float32)
    tree = {"odd": jnp.array(bits), "rows": jnp.array(bits), "w": jnp.ones(2)}
    model = ws.JaxModel(
        tree, loss=lambda t, b: (t["w"] ** 2).sum() + t["odd"][1] + t["rows"][1], optimizer=ADAMW
    )
    ws.freeze(model, {"odd": ..., "rows": np.s_[:3]})
    model.train_step(0)
    assert model.session.read("odd").tobytes() == bits.tobytes()
    assert model.session.read("rows")[:3].tobytes() == bits[:3].tobytes()


def test_bfloat16_weights_with_wide_moments_stay(models):
    net = nnx.Linear(3, 2, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    tx = optax.adamw(0.05, weight_decay=0.1, mu_dtype=jnp.float32)
    model = ws.JaxModel(net, loss=models.nnx_loss, optimizer=tx)
    model.train_step(models.INPUTS)
    frozen = ws.freeze(model, "kernel")
    before = values(model.session)
    model.train_step(models.INPUTS)
    frozen.verify()
    assert "bias" in moved(before, model.session)


def test_when_all_is_frozen_there_is_nothing_to_train(models, net):
    for model in (
        ws.JaxModel(net, loss=models.nnx_loss, optimizer=ADAMW),
        ws.JaxModel({"w": jnp.ones(1)}, loss=lambda t, b: t["w"].sum(), optimizer=ADAMW),
    ):
        ws.freeze(model, "*")
        with pytest.raises(FreezeError, match="every trainable variable is frozen"):
            model.train_step(models.INPUTS)


def test_layers_of_linen_run_in_inference_mode_when_frozen(models):
    seen = []

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            norm = linen.BatchNorm(use_running_average=False, name="norm")
            x = linen.BatchNorm(name="called")(norm(x), use_running_average=False)
            seen.append(x.std())
            return linen.Dense(2)(x)

    net = Net()
    variables = net.init(jax.random.key(0), models.INPUTS)

    def loss(variables, batch):
        out, updates = net.apply(variables, batch, mutable=["batch_stats"])
        return (out**2).mean(), {"spread": seen[-1], **updates}

    model = ws.JaxModel(variables, loss=loss, optimizer=ADAMW)
    ws.freeze(model, ["params/norm/*", "params/called/*"])
    spread = model.train_step(models.INPUTS * 50)["spread"]
    assert spread > 10  # not normalised by the batch


def test_a_tree_alone_is_not_frozen_but_its_session_is():
    tree = {"w": jnp.ones(2), "b": jnp.ones(2)}
    with pytest.raises(FreezeError, match="training makes new trees, so nothing can be proved"):
        ws.freeze(tree, "w")
    session = ws.session_for(tree)
    frozen = ws.freeze(session, "w")
    session.tree = {"w": jnp.zeros(2), "b": jnp.ones(2)}
    with pytest.raises(
        FreezeError, match=r"1 of 1 frozen variables moved: 'w'; .* not ws\.frozen_transform\(op"
    ):
        frozen.verify()


def test_nothing_is_proved_of_a_tree_before_the_session_has_the_trained_one():
    session = ws.session_for({"w": jnp.ones(2), "b": jnp.ones(2)}, optimizer=optax.sgd(0.1))
    session.tree = {"w": jnp.zeros(2), "b": jnp.ones(2)}
    frozen = ws.freeze(session, "w")
    session.assign([("w", np.zeros(2, np.float32))])
    with pytest.raises(FreezeError, match=r"still the tree that was .* ws\.frozen_transform\("):
        frozen.verify()
    session.tree = {"w": jnp.zeros(2), "b": jnp.zeros(2)}
    assert set(frozen.verify()) == {"w"}


def test_what_cannot_be_read_any_more_is_no_move():
    session = ws.session_for({"params": {"w": jnp.ones(2), "b": jnp.ones(2)}})
    frozen = ws.freeze(session, "params/w")
    session.tree = {"w": jnp.ones(2), "b": jnp.ones(2)}
    with pytest.raises(
        FreezeError, match=r"1 of 1 frozen variables cannot be read .*: 'params/w'; there is no te"
    ):
        frozen.verify()


def test_a_jax_model_that_took_no_step_yet_can_be_verified():
    model = ws.JaxModel(
        {"w": jnp.ones(2), "b": jnp.ones(2)}, loss=lambda t, b: t["w"].sum(), optimizer=ADAMW
    )
    assert set(ws.freeze(model, "w").verify()) == {"w"}


def test_statistics_and_counters_of_trees(models):
    session = ws.session_for(models.haiku_variables())
    frozen = ws.freeze(session, "params/batch_norm/*")
    assert {n for n in frozen.names if n.startswith("state/")} == {
        n for n in session.specs if n.startswith("state/")
    }
    with pytest.raises(FreezeError, match="statistics, and train_statistics=True lets them move"):
        ws.freeze(session, "state/*", train_statistics=True)
    counting = {"params": {"w": jnp.ones(1)}, "opt_state": (), "step": 0}
    with pytest.raises(FreezeError, match="step: a step counter"):
        ws.session_for(counting).freeze(["step"])


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_nobody_sets_what_is_held_whatever_array_it_is(kind, net):
    kernel = net.layers[1].kernel
    kernel.set_value(kind(np.ones((4, 3), np.float32)))
    frozen = ws.freeze(net, {"layers/1/kernel": ..., "norm/scale": np.s_[:2]})
    for array in (np.zeros((4, 3), np.float32), jnp.zeros((4, 3))):
        kernel.set_value(array)
        net.layers[1].kernel[...] = array
        net.norm.scale.set_value(array[:, 0] + 7)
    frozen.verify()
    assert net.norm.scale[...].tolist() == [1, 1, 7, 7]


def test_what_is_pickled_is_not_held(net, models):
    frozen = ws.freeze(net, {"norm/*": ..., "layers/*": ...})
    expected = values(ws.session_for(net))
    other = pickle.loads(pickle.dumps(net))
    assert values(ws.session_for(other)).keys() == expected.keys()
    assert type(other.norm) is nnx.BatchNorm
    assert {type(v) for _, v in nnx.graph.iter_graph(other) if isinstance(v, nnx.Param)} == {
        nnx.Param
    }
    before = np.array(other.norm.mean[...])
    other(models.INPUTS)  # moves the statistics
    assert (np.array(other.norm.mean[...]) != before).any()
    frozen.verify()
    frozen.thaw()


def test_a_clone_of_what_is_held_is_held_as_well(net):
    frozen = ws.freeze(net, "layers/1/kernel")
    other = nnx.clone(net)
    other.layers[1].kernel.set_value(jnp.zeros((4, 3)))
    assert (other.layers[1].kernel[...] == net.layers[1].kernel[...]).all()
    frozen.thaw()
    assert type(nnx.clone(net).layers[1].kernel) is nnx.Param
