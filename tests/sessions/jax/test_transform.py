"""The transformation for loops of one's own, and the context for parameters being made."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import warmstart as ws
from warmstart.errors import FreezeError


def trained(tx, params, state, steps=3):
    @jax.jit
    def step(params, state):
        gradients = jax.tree.map(lambda p: 10 * jnp.ones_like(p), params)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


@pytest.mark.parametrize(
    "inner",
    [
        optax.sgd(0.1, momentum=0.9),
        optax.adamw(0.1, weight_decay=0.1),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adafactor(0.1, min_dim_size_to_factor=2)),
        optax.MultiSteps(optax.adamw(0.1), 2).gradient_transformation(),
    ],
)
def test_what_is_frozen_does_not_move_and_the_others_do(inner):
    params = {"enc": jnp.array([[0.0, -0.0, 1.5]] * 2), "emb": jnp.ones((3, 2)), "out": jnp.ones(2)}
    params, state = trained(inner, params, inner.init(params))  # there is momentum
    session = ws.session_for(params, optimizer=state)
    frozen = ws.freeze(session, {"enc": ..., "emb": np.s_[:1]})
    slots = {n: np.array(session.read(n)) for n in session.specs if n.startswith("enc/")}
    old = jax.tree.map(np.array, params)
    params, state = trained(ws.frozen_transform(inner, frozen), params, state)
    session.tree, session.opt_state = params, state
    frozen.verify()
    assert (old["emb"] != params["emb"])[1:].all()
    assert (old["out"] != params["out"]).all()
    for name, value in slots.items():
        np.testing.assert_array_equal(session.read(name), value)


def test_a_frozen_gradient_does_not_clip_the_others():
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    frozen = ws.freeze(ws.session_for(params), "a")
    tx = ws.frozen_transform(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0)), frozen)
    updates, _ = tx.update({"a": jnp.full(1, 1e6), "b": jnp.ones(1)}, tx.init(params), params)
    assert updates["b"].tolist() == [-1]


def test_it_finds_the_parameters_of_a_tree_of_collections():
    tree = {"params": {"w": jnp.ones(2), "b": jnp.ones(2)}, "batch_stats": {"m": jnp.ones(1)}}
    frozen = ws.freeze(ws.session_for(tree), "params/w")
    tx = ws.frozen_transform(optax.sgd(0.1), frozen)
    params, _ = trained(tx, tree["params"], tx.init(tree["params"]))
    assert params["w"].tolist() == [1, 1]
    assert params["b"].tolist() != [1, 1]


def test_parameters_that_it_is_not_for_are_refused():
    frozen = ws.freeze(ws.session_for({"w": jnp.ones(2), "b": jnp.ones(2)}), "w")
    tx = ws.frozen_transform(optax.sgd(0.1), frozen)
    with pytest.raises(FreezeError, match="none of the frozen variables w is among the updates"):
        tx.update({"other": jnp.ones(2)}, tx.init({"other": jnp.ones(2)}))


@nnx.jit
def step(module, optimizer, penalty):
    def loss(module):
        return module(jnp.ones((1, 2))).sum() + penalty * (module.kernel.get_raw_value() ** 2).sum()

    optimizer.update(module, nnx.grad(loss)(module))


def test_stopped_parameters_bring_no_gradient_and_stay_trainable():
    with ws.freeze_variables(stop_gradient=True):
        module = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    session = ws.session_for(module, optimizer=optax.sgd(0.1))
    assert session.specs["kernel"].role == "trainable"
    before = np.array(session.read("kernel"))
    step(module, session.optimizer, 0.0)
    assert (session.read("kernel") == before).all()
    step(module, session.optimizer, 1.0)  # another way to it
    assert (session.read("kernel") != before).any()


def test_skipped_parameters_are_not_trained_at_all():
    with ws.freeze_variables(stop_gradient=False, skip_collection=True):
        body = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    head = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
    module = nnx.Sequential(body, head)
    session = ws.session_for(module, optimizer=optax.adamw(0.1, weight_decay=0.1))
    roles = {n: s.role for n, s in session.specs.items() if s.role in ("trainable", "model")}
    assert roles == {
        "layers/0/bias": "model",
        "layers/0/kernel": "model",
        "layers/1/bias": "trainable",
        "layers/1/kernel": "trainable",
    }
    assert "layers/0/kernel/mu" not in session.specs
    before = np.array(session.read("layers/0/kernel"))
    optimizer = session.optimizer
    optimizer.update(module, nnx.grad(lambda m: m(jnp.ones((1, 2))).sum())(module))
    assert (session.read("layers/0/kernel") == before).all()


def test_only_this_thread_and_only_parameters_are_meant():
    from threading import Thread

    made = []
    with ws.freeze_variables():
        other = Thread(target=lambda: made.append(nnx.Param(jnp.ones(1))))
        other.start()
        other.join()
        statistic = nnx.BatchStat(jnp.ones(1))
    assert [type(each) for each in (*made, statistic)] == [nnx.Param, nnx.BatchStat]
    assert type(nnx.Param(jnp.ones(1))) is nnx.Param
