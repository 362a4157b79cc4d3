"""TensorFlow 2 checkpoints against TensorFlow: names match both ways, and what we write loads."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws
from warmstart.files.dump import BY_ROLES
from warmstart.formats.tf_bundle.object_graph import OBJECT_GRAPH, SUFFIX

v1 = tf.compat.v1


class Net(tf.Module):
    """Variables as a TensorFlow 1 graph names them, under other attributes."""

    def __init__(self, seed: int) -> None:
        super().__init__(name="net")
        random = tf.random.Generator.from_seed(seed)
        self.k = tf.Variable(random.normal([3, 2]), name="conv/kernel")
        self.parts = [tf.Variable(random.normal([2]), name="conv/bias")]
        self.stat = tf.Variable(random.normal([2]), name="bn/mean", trainable=False)


def stepped(net: Net) -> v1.train.Optimizer:
    """Return an optimizer of TensorFlow 1 that has trained *net* for a step."""
    optimizer = v1.train.AdamOptimizer(0.1)
    trained = [net.k, net.parts[0]]
    optimizer.minimize(lambda: tf.add_n([tf.reduce_sum(v * v) for v in trained]), var_list=trained)
    return optimizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A checkpoint of a net and its optimizer, and both."""
    net = Net(1)
    optimizer = stepped(net)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(net=net, opt=optimizer), str(tmp_path_factory.mktemp("tf2")), 2
    )
    return SimpleNamespace(net=net, optimizer=optimizer, path=Path(manager.save()))


def graph_like(*, seed: int) -> v1.Session:
    """Return a session on a TensorFlow 1 graph with the variables of a `Net`, and Adam's."""
    with tf.Graph().as_default():
        v1.set_random_seed(seed)
        kernel = v1.get_variable("conv/kernel", [3, 2], initializer=v1.random_normal_initializer())
        bias = v1.get_variable("conv/bias", [2], initializer=v1.random_normal_initializer())
        v1.get_variable("bn/mean", [2], trainable=False)
        cost = tf.reduce_sum(kernel) + tf.reduce_sum(bias)
        v1.train.AdamOptimizer(0.1).minimize(cost)
        session = v1.Session()
        session.run(v1.global_variables_initializer())
        return session


def test_values_are_read_by_own_names(saved: SimpleNamespace) -> None:
    with ws.open(saved.path.parent) as source:  # CheckpointManager's folder
        assert (source.read("conv/kernel") == saved.net.k.numpy()).all()
        assert (source.read("conv/bias") == saved.net.parts[0].numpy()).all()
        assert source.read_slice("bn/mean", 1) == saved.net.stat.numpy()[1]
        slot = saved.optimizer.get_slot(saved.net.k, "m").numpy()
        assert (source.read("conv/kernel/Adam") == slot).all()
        keys = {name for name, _ in tf.train.list_variables(str(saved.path))}
        assert source.specs.keys() == keys


def test_a_graph_of_tensorflow_1_starts_from_it(saved: SimpleNamespace) -> None:
    session = graph_like(seed=2)
    report = ws.SmartInit(saved.path).init(session)
    with session.graph.as_default():
        found = {v.op.name: session.run(v) for v in v1.global_variables()}
    assert (found["conv/kernel"] == saved.net.k.numpy()).all()
    assert (found["bn/mean"] == saved.net.stat.numpy()).all()
    assert (found["conv/kernel/Adam_1"] == saved.optimizer.get_slot(saved.net.k, "v").numpy()).all()
    assert found["beta1_power"] == pytest.approx(0.81)
    assert not report.plan.named("missing")


def test_nothing_is_said_to_be_unused(
    saved: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    ws.SmartInit(saved.path).init(graph_like(seed=2))
    assert caplog.records == []


@pytest.mark.parametrize("turned", [False, True])
def test_a_checkpoint_of_tensorflow_1_is_compared_by_own_names(
    saved: SimpleNamespace, turned: bool, tmp_path: Path
) -> None:
    session = graph_like(seed=2)
    ws.SmartInit(saved.path).init(session)
    with session.graph.as_default():
        path = Path(v1.train.Saver().save(session, str(tmp_path / "tf1")))
    pair = [path, saved.path][:: -1 if turned else 1]
    found = ws.diff(*pair)
    assert len(found.same_tensors) == 9  # three variables, four slots, two powers of beta
    assert found.changed == ()
    only = found.only_b if not turned else found.only_a
    assert {spec.name for spec in only} == {"save_counter" + SUFFIX}


def test_tensorflow_2_restores_what_was_converted(saved: SimpleNamespace, tmp_path: Path) -> None:
    ws.convert(saved.path, tmp_path / "through.npz")
    ws.convert(tmp_path / "through.npz", tmp_path / "again")
    net = Net(7)
    optimizer = stepped(net)
    status = tf.train.Checkpoint(net=net, opt=optimizer).restore(str(tmp_path / "again"))
    status.assert_consumed()
    assert (net.k.numpy() == saved.net.k.numpy()).all()
    slots = [
        o.get_slot(n.k, "v").numpy() for o, n in ((optimizer, net), (saved.optimizer, saved.net))
    ]
    assert (slots[0] == slots[1]).all()
    with ws.open(saved.path) as before, ws.open(tmp_path / "again") as after:
        assert dict(before.aliases) == dict(after.aliases)
        assert dict(before.specs) == dict(after.specs)


def test_a_saver_of_tensorflow_1_restores_what_was_converted(
    saved: SimpleNamespace, tmp_path: Path
) -> None:
    ws.convert(saved.path, tmp_path / "both")
    session = graph_like(seed=3)
    with session.graph.as_default():
        v1.train.Saver().restore(session, str(tmp_path / "both"))
        found = {v.op.name: session.run(v) for v in v1.global_variables()}
    assert (found["conv/kernel"] == saved.net.k.numpy()).all()


def test_only_own_names_are_kept_by_one_rule(saved: SimpleNamespace, tmp_path: Path) -> None:
    ws.convert(saved.path, tmp_path / "m.safetensors", rules="keep re:(?!.*/[.]ATTRIBUTES).*")
    with ws.open(tmp_path / "m.safetensors") as source:
        assert source.aliases == {}
        assert {"conv/kernel", "conv/kernel/Adam", "save_counter"} < source.specs.keys()
        assert source.specs["conv/kernel/Adam"].role == "slot"


def test_keys_are_shortened_by_one_rule(saved: SimpleNamespace, tmp_path: Path) -> None:
    ws.convert(saved.path, tmp_path / "m.npz", rules=f"rename *{SUFFIX} -> *")
    with ws.open(tmp_path / "m.npz") as source:
        assert source.aliases["conv/kernel"] == "net/k"
        assert source.specs["net/parts/0"].shape == (2,)


def test_what_was_dumped_starts_a_model_of_tensorflow_2(
    saved: SimpleNamespace, tmp_path: Path
) -> None:
    done = ws.dump(saved.path, tmp_path / "small")
    assert done.rule == BY_ROLES
    assert set(done.kept) == {
        OBJECT_GRAPH, *(f"net/{path}{SUFFIX}" for path in ("k", "parts/0", "stat")),
    }  # fmt: skip
    net = Net(7)
    tf.train.Checkpoint(net=net).restore(str(tmp_path / "small")).expect_partial()
    assert (net.stat.numpy() == saved.net.stat.numpy()).all()
    done = ws.dump(saved.path, tmp_path / "small.npz")
    assert OBJECT_GRAPH in done.left_out


def test_a_graph_alone_is_nothing_to_dump(tmp_path: Path) -> None:
    path = tf.train.Checkpoint(saves=tf.train.Checkpoint()).save(str(tmp_path / "m"))
    with pytest.raises(ws.UnsupportedCheckpoint, match="nothing is left to write"):
        ws.dump(path, tmp_path / "small")


def test_variables_in_pieces(tmp_path: Path) -> None:
    big = tf.Variable(tf.range(1000.0), name="big")
    options = tf.train.CheckpointOptions(
        experimental_sharding_callback=tf.train.experimental.MaxShardSizePolicy(1000)
    )
    path = tf.train.Checkpoint(x=big).save(str(tmp_path / "m"), options=options)
    with ws.open(path) as source:
        assert (source.read("big") == big.numpy()).all()
        assert source.read_slice("big", slice(248, 252)).tolist() == [248, 249, 250, 251]


def test_escaped_names_and_values_that_are_no_variables(tmp_path: Path) -> None:
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(tf.constant(["a"]), tf.constant([3], tf.int64))
    odd = tf.train.Checkpoint(table=table)
    odd.mapping = {"a/b.c": tf.Variable(1.0, name="x"), "b": tf.Variable(2.0, name="x")}
    path = odd.save(str(tmp_path / "m"))
    with ws.open(path) as source:
        key = source.aliases["mapping/a.Sb..c"]
        assert (key, source.read(key)) == ("mapping/a.Sb..c" + SUFFIX, 1)
        assert source.read("table/.ATTRIBUTES/table-keys").tolist() == [b"a"]
    assert ws.verify(path).faults == ()


@pytest.fixture(scope="module")
def keras3(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A checkpoint of a trained model of Keras 3, and the model."""
    model = keras_model(5)
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    folder = tmp_path_factory.mktemp("keras3")
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    return SimpleNamespace(model=model, path=checkpoint.save(str(folder / "m")))


def keras_model(seed: int) -> tf.Module:
    """Return a compiled model of Keras 3, built by its subclass."""
    import keras

    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    hidden = [keras.layers.Dense(2, name="same"), keras.layers.BatchNormalization(name="bn")]
    model = keras.Sequential([keras.layers.Input((3,)), *hidden, keras.layers.Dense(1)], name="net")
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model


def test_every_variable_of_keras_3_is_read_by_its_path(keras3: SimpleNamespace) -> None:
    with ws.open(keras3.path) as source:
        for variable in keras3.model.variables:
            assert (source.read(variable.path) == variable.numpy()).all()
        optimizer = keras3.model.optimizer
        for variable, slot in zip(
            optimizer._trainable_variables, optimizer._velocities, strict=True
        ):
            assert (source.read(f"{variable.path}/velocity") == slot.numpy()).all()
        roles = {source.specs[source.aliases[v.path]].role for v in keras3.model.variables}
        assert roles == {None}


def test_keras_3_restores_what_was_converted(keras3: SimpleNamespace, tmp_path: Path) -> None:
    ws.convert(keras3.path, tmp_path / "again")
    model = keras_model(6)
    model.optimizer.build(model.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    checkpoint.restore(str(tmp_path / "again")).assert_existing_objects_matched()
    for variable, other in zip(model.variables, keras3.model.variables, strict=True):
        assert (variable.numpy() == other.numpy()).all()


def test_what_was_dumped_of_keras_3_is_the_model(keras3: SimpleNamespace, tmp_path: Path) -> None:
    ws.dump(keras3.path, tmp_path / "small.safetensors")
    with ws.open(tmp_path / "small.safetensors") as source:
        assert source.aliases.keys() == {variable.path for variable in keras3.model.variables}
