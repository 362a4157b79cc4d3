"""The sessions: names, roles, values of every kind, files of the same tree, abstract models."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx, serialization
from flax.training.train_state import TrainState

import warmstart as ws
from warmstart import sessions
from warmstart.errors import (
    CheckpointError,
    MissingDependency,
    NameConflict,
    NoSuchTensor,
    RestoreError,
    RestoreMismatch,
    ResumeError,
)


def roles(session):
    return {name: spec.role for name, spec in session.specs.items()}


def saved_by_orbax(tree, folder):
    with ocp.StandardCheckpointer() as writer:
        writer.save(folder / "state", tree)
    return folder / "state"


def test_a_module_has_names_by_attributes_and_roles_by_types(net):
    assert roles(ws.session_for(net)) == {
        "layers/0/kernel": "trainable",
        "layers/1/bias": "trainable",
        "layers/1/kernel": "trainable",
        "norm/bias": "trainable",
        "norm/scale": "trainable",
        "norm/mean": "model",
        "norm/var": "model",
        "drop/rngs/count": "run",
        "drop/rngs/key": "run",
    }
    assert ws.session_for(net).aliases == {"tied": "layers/0/kernel"}


def test_what_an_optimizer_does_not_train_is_no_trainable_variable(net):
    only = nnx.All(nnx.Param, nnx.PathContains("norm"))
    session = ws.session_for(net, optimizer=nnx.Optimizer(net, optax.adam(1e-3), wrt=only))
    assert [n for n, role in roles(session).items() if role == "trainable"] == [
        "norm/bias",
        "norm/scale",
    ]


def test_a_module_that_changes_is_looked_at_anew(net):
    session = ws.session_for(net)
    session.read("layers/1/bias")
    net.layers[1] = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
    assert session.read("layers/1/bias").shape == (5,)
    del net.norm
    with pytest.raises(NoSuchTensor, match="no tensor 'norm/scale'"):
        session.read("norm/scale")


def test_bare_arrays_of_a_module_are_variables_too():
    module = nnx.WeightNorm(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))
    session = ws.session_for(module)
    (name,) = [name for name in session.specs if name.startswith("scales")]
    session.assign([(name, np.full(3, 7, np.float32))])
    assert module.scales[("kernel",)].tolist() == [7, 7, 7]


def test_what_is_no_array_is_named_as_not_resumable():
    module = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    module.history = nnx.Variable({"losses": [1.0]})
    module.nothing = nnx.Variable(None)
    assert ws.session_for(module).unresumable() == {
        "history": "its value is a dict; only arrays are read"
    }


def test_keys_of_dicts_stay_as_they_are():
    tree = {"mlp/~/linear 0": {"w": jnp.zeros(2)}, 1: [jnp.ones(3)]}
    assert list(ws.session_for({"a b": tree["mlp/~/linear 0"]}).specs) == ["a b/w"]
    assert list(ws.session_for({"mlp/~/linear 0": {"w": jnp.zeros(2)}}).specs) == [
        "mlp/~/linear 0/w"
    ]
    assert list(ws.session_for({1: tree[1]}).specs) == ["1/0"]


def test_two_leaves_with_one_name_are_an_error():
    session = ws.session_for({"a/b": jnp.zeros(1), "a": {"b": jnp.ones(1)}})
    with pytest.raises(NameConflict, match=r"are ambiguous.*'a/b'; a key with '/' in it"):
        dict(session.specs)


@pytest.mark.parametrize("model", [{"w": np.zeros(2)}, jnp.zeros(2), {}, {"f": jnp.tanh}])
def test_what_has_no_array_of_jax_is_no_model(model):
    with pytest.raises(TypeError, match="no session is known for a"):
        ws.session_for(model)


def test_values_of_every_dtype_come_back():
    dtypes = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16", "int4", "int8", "uint32"]
    tree = {d: jnp.array([0, 1, 3], getattr(jnp, d)) for d in dtypes}
    tree |= {"bool": jnp.array([True, False]), "complex": jnp.array([1 + 2j])}
    session = ws.session_for(tree)
    values = {name: np.array(session.read(name)) for name in session.specs}
    assert values["bfloat16"].dtype == ml_dtypes.bfloat16
    report = ws.DictRestore(values).init(jax.tree.map(jnp.zeros_like, tree))
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), report.model, tree))
    assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype, report.model, tree))


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_random_keys_come_back(implementation):
    keys = jax.random.split(jax.random.key(3, impl=implementation), 2)
    session = ws.session_for({"w": jnp.zeros(1), "keys": keys})
    assert session.specs["keys"].role == "run"
    array = np.array(session.read("keys"))
    other = ws.session_for({"w": jnp.zeros(1), "keys": jax.random.split(jax.random.key(
        0, impl=implementation), 2)})  # fmt: skip
    other.assign([("keys", array)])
    assert (jax.random.normal(other.tree["keys"][0]) == jax.random.normal(keys[0])).all()


def test_a_tree_is_not_changed_and_the_report_has_the_new_one():
    tree = {"w": jnp.zeros(2), "f": jnp.tanh, "n": 3}
    report = ws.DictRestore({"w": np.ones(2, np.float32)}).init(tree)
    assert tree["w"].tolist() == [0, 0]
    assert report.model["w"].tolist() == [1, 1]
    assert report.model["f"] is jnp.tanh
    assert report.model["n"] == 3


def test_the_report_has_the_module_that_was_given(net):
    assert ws.SmartInit(None).init(net).model is net


def test_numpy_leaves_stay_numpy():
    report = ws.DictRestore({"a": np.ones(2)}).init({"a": np.zeros(2), "b": jnp.zeros(1)})
    assert type(report.model["a"]) is np.ndarray
    assert report.model["a"].dtype == np.float64


def test_arrays_go_where_those_were_that_they_replace():
    device = jax.devices()[0]
    mesh = jax.sharding.Mesh(np.array([device]), "x")
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    tree = {
        "sharded": jax.device_put(jnp.zeros(4), sharding),
        "abstract": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=sharding),
        "anywhere": jnp.zeros(4),
    }
    new = ws.DictRestore({n: np.ones(4, np.float32) for n in tree}).init(tree).model
    assert new["sharded"].sharding == new["abstract"].sharding == sharding
    assert not new["anywhere"].committed


@pytest.mark.parametrize("save", ["orbax", "msgpack"])
def test_files_of_a_train_state_need_no_rule(save, tmp_path):
    state = TrainState.create(
        apply_fn=None,
        params={"fc": {"kernel": jnp.ones((2, 3))}},
        tx=optax.chain(optax.clip_by_global_norm(1), optax.adam(0.1)),
    )
    state = state.apply_gradients(grads={"fc": {"kernel": jnp.ones((2, 3))}})
    if save == "orbax":
        path = saved_by_orbax(state, tmp_path)
    else:
        path = tmp_path / "state.msgpack"
        path.write_bytes(serialization.to_bytes(state))
    fresh = jax.tree.map(jnp.zeros_like, state)
    report = ws.SmartInit(path).init(fresh)
    assert report.loaded == ("params/fc/kernel", "params/fc/kernel/mu", "params/fc/kernel/nu")
    new = report.model
    assert (new.params["fc"]["kernel"] == state.params["fc"]["kernel"]).all()
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), new.opt_state[1][0].mu, state.opt_state[1][0].mu)
    )


def test_files_of_an_nnx_state_need_no_rule(net, tmp_path):
    optimizer = nnx.Optimizer(net, optax.adam(0.1), wrt=nnx.Param)
    params = nnx.state(net, nnx.Param, nnx.BatchStat)
    path = saved_by_orbax(nnx.merge_state(*params, nnx.state(optimizer)), tmp_path)
    other = type(net)(nnx.Rngs(1))
    session = ws.session_for(other, optimizer=optax.adam(0.1))
    report = ws.SmartInit(path).init(session)
    assert report.missing == report.unused == ()
    assert "norm/scale/mu" in report.loaded
    assert (other.norm.mean[...] == net.norm.mean[...]).all()


def test_an_abstract_module_gets_arrays(net, caplog):
    abstract = nnx.eval_shape(lambda: type(net)(nnx.Rngs(1)))
    session = ws.session_for(abstract, optimizer=optax.adam(0.1))
    with pytest.raises(CheckpointError, match="'norm/scale' has no value: the model is abstract"):
        session.read("norm/scale")
    values = {n: np.array(ws.session_for(net).read(n)) for n in ("norm/scale", "norm/bias",
              "layers/0/kernel", "layers/1/kernel", "layers/1/bias", "norm/mean",
              "norm/var")}  # fmt: skip
    report = ws.DictRestore(values).init(session)
    assert isinstance(abstract.norm.scale.get_value(), jax.Array)
    assert "norm/scale/mu" in report.initialized
    assert session.read("norm/scale/mu").tolist() == [0, 0, 0, 0]
    assert "2 variables of the abstract model: no value still" in caplog.text
    assert "none to begin with: drop/rngs/count, drop/rngs/key; restore them too" in caplog.text


def test_an_abstract_tree_gets_arrays_and_the_optimizer_its_state():
    abstract = jax.eval_shape(lambda: {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    session = ws.session_for(abstract, optimizer=optax.adamw(0.1))
    report = ws.DictRestore({"w": np.ones((2, 3), np.float32), "b": np.ones(3, np.float32)}).init(
        session
    )
    assert set(report.initialized) == {"opt_state/ScaleByAdamState/count", "b/mu", "b/nu", "w/mu",
                                       "w/nu"}  # fmt: skip
    assert session.opt_state[0].mu["w"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert abstract["w"].shape == (2, 3)


def test_what_no_source_has_of_an_abstract_model_is_an_error():
    abstract = jax.eval_shape(lambda: {"w": jnp.zeros(2), "b": jnp.zeros(3), "c": jnp.zeros(1)})
    session = ws.session_for(abstract, optimizer=optax.adam(0.1))
    with pytest.raises(RestoreError) as caught:
        ws.DictRestore({"w": np.ones(2, np.float32)}).init(session)
    assert str(caught.value).splitlines()[:3] == [
        "the model is abstract, and these would have no values:",
        "  b float32 (3,)",
        "  c float32 (1,)",
    ]
    with pytest.raises(CheckpointError, match="'w' has no value"):  # nothing is half done
        session.read("w")


def test_an_abstract_train_state_begins_with_the_state_of_its_transformation():
    def make():
        return TrainState.create(apply_fn=None, params={"w": jnp.ones(2)}, tx=optax.adam(0.1))

    abstract = jax.eval_shape(make)
    new = ws.DictRestore({"params/w": np.full(2, 3, np.float32)}).init(abstract).model
    assert jax.tree.leaves(new.opt_state)[1].tolist() == [0, 0]
    assert (new.params["w"].tolist(), int(new.step)) == ([3, 3], 0)
    assert not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(new))


def test_a_donated_value_is_not_read():
    tree = {"w": jnp.zeros(3)}
    session = ws.session_for(tree)
    jax.jit(lambda w: w + 1, donate_argnums=0)(tree["w"])
    with pytest.raises(CheckpointError, match="'w' was donated to a jitted function"):
        session.read("w")


def test_what_does_not_fit_is_refused():
    session = ws.session_for({"w": jnp.zeros(3)})
    with pytest.raises(RestoreMismatch, match=r"'w' is float32 \(3,\); it cannot take float64"):
        session.assign([("w", np.zeros(3))])


def test_what_jax_cannot_hold_says_what_it_needs():
    session = ws.session_for({"w": jax.ShapeDtypeStruct((2,), np.dtype("float64")), "a":
                              jnp.zeros(1)})  # fmt: skip
    with pytest.raises(RestoreMismatch, match="and JAX makes float32 of it: it needs jax"):
        session.assign([("w", np.zeros(2))])


def test_a_tree_has_one_optimizer():
    tree = {"params": {"w": jnp.zeros(1)}, "opt_state": optax.adam(1).init({"w": jnp.zeros(1)})}
    with pytest.raises(TypeError, match="has an opt_state of its own"):
        ws.session_for(tree, optimizer=tree["opt_state"])
    with pytest.raises(AttributeError, match=r"set session\.tree"):
        ws.session_for(tree).opt_state = ()


def test_a_loop_of_ones_own_sets_what_it_made():
    tx = optax.adam(0.1)
    params = {"w": jnp.zeros(2)}
    session = ws.session_for(params, optimizer=tx.init(params))
    updates, state = tx.update({"w": jnp.ones(2)}, session.opt_state, params)
    session.tree, session.opt_state = optax.apply_updates(params, updates), state
    assert session.read("w").tolist() == session.tree["w"].tolist() != [0, 0]
    assert session.read("w/mu").any()


def test_options_that_a_model_does_not_take_are_named(net):
    with pytest.raises(TypeError, match="takes no option strict"):
        ws.session_for(net, strict=True)
    with pytest.raises(TypeError, match="an NNX module predicts by itself"):
        ws.session_for(net, predict=print)


def test_without_flax_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "flax", None)
    monkeypatch.delitem(sys.modules, "flax.nnx")
    monkeypatch.delitem(sys.modules, "warmstart.sessions.jax.nnx_session", raising=False)

    def missing(*args, **kwargs):
        raise ModuleNotFoundError("No module named 'flax'", name="flax")

    monkeypatch.setattr("builtins.__import__", refusing("flax", missing, __import__))
    with pytest.raises(MissingDependency, match=r"needs flax: pip install 'warmstart\[jax\]'"):
        sessions.session_for({"w": jnp.zeros(1)})


def refusing(package, missing, original):
    def importing(name, *args, **kwargs):
        return missing() if name == package else original(name, *args, **kwargs)

    return importing


def test_the_state_says_on_what_the_run_computes(caplog):
    session = ws.session_for({"w": jnp.zeros(1)})
    session.load_state({**session.state(), "devices": 64})
    assert "the run so far computed on cpu (64 devices), this process on cpu (1)" in caplog.text
    with pytest.raises(ResumeError, match="state of JAX has 'rng'; expected 'devices', 'platform'"):
        session.load_state({"rng": 1})


def test_a_module_predicts_in_inference_mode(net, models):
    predict = ws.session_for(net).predictor(None, None)
    (first,), (second,) = predict(models.INPUTS), predict(models.INPUTS)
    assert (first == second).all()  # no dropout
    assert not net.drop.deterministic
    (named,) = ws.session_for(net).predictor(["x"], None)(models.INPUTS)
    assert (named == first).all()


def test_a_tree_predicts_by_a_function(models):
    session = ws.session_for(
        models.linen_variables(),
        predict=lambda v, x: {"logits": models.linen_net.apply(v, x, train=False), "n": x.sum()},
    )
    (logits,) = session.predictor(None, ["logits"])(models.INPUTS)
    assert logits.shape == (8, 2)
    with pytest.raises(ValueError, match="returns no probs; it returns logits, n"):
        session.predictor(None, ["probs"])(models.INPUTS)
    with pytest.raises(TypeError, match="the inputs are x; 2 given"):
        session.predictor(["x"], None)(1, 2)
    with pytest.raises(TypeError, match="does not say how it predicts"):
        ws.session_for(models.linen_variables()).predictor(None, None)
    plain = ws.session_for({"w": jnp.zeros(1)}, predict=lambda tree, x: x)
    with pytest.raises(ValueError, match=r"returns a .*Array.*; expected a mapping"):
        plain.predictor(None, ["y"])(jnp.ones(1))


def test_a_train_state_predicts_by_its_own_function(models):
    variables = models.linen_variables()
    state = TrainState.create(
        apply_fn=lambda v, x: x @ v["params"]["Dense_0"]["kernel"],
        params=variables["params"], tx=optax.sgd(0.1),
    )  # fmt: skip
    (out,) = ws.session_for(state).predictor(None, None)(models.INPUTS)
    assert out.shape == (8, 4)
