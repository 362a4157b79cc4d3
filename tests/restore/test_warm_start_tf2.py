"""WarmStartSettings, vocabularies and slots by name on objects of TensorFlow 2."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import warmstart as ws

OLD = ["b", "a", "c", "e"]
NEW = ["a", "x", "c", "y", "b"]


def module(layers, n_words=4, seed=0):
    """Return a module with an embedding, and layers of one shape."""
    made, random = tf.Module(), tf.random.Generator.from_seed(seed)
    made.emb = tf.Variable(random.normal((n_words, 3)))
    for name in layers:
        setattr(made, name, tf.Variable(random.normal((3, 3))))
    return made


def trained(made, optimizer, steps=2):
    """Return *optimizer* after some steps, in each of which a variable is its own gradient."""
    variables = made.trainable_variables
    if isinstance(optimizer, keras.optimizers.Optimizer):
        optimizer.build(variables)
    for _ in range(steps):
        optimizer.apply_gradients([(tf.convert_to_tensor(v), v) for v in variables])
    return optimizer


@pytest.fixture
def base(tmp_path):
    """A checkpoint of a trained module with its optimizer, and its values."""
    made = module("ab")
    session = ws.session_for(made, optimizer=trained(made, keras.optimizers.Adam(0.1)))
    ws.save_vars(session, tmp_path / "base")
    return tmp_path / "base", {name: np.array(session.read(name)) for name in session.specs}


def slots_in(names, *owners):
    return {name for name in names if name.partition("/")[0] in owners and "/" in name}


def follows(found, old, new=0):
    return np.array_equal(found[[0, 2, 4]], old[[1, 2, 0]]) and (found[[1, 3]] == new).all()


@pytest.mark.parametrize("steps", [0, 1])
def test_rows_and_slots_follow_the_words(steps, base):
    path, old = base
    made = module("ab", n_words=5, seed=1)
    session = ws.session_for(made, optimizer=trained(made, keras.optimizers.Adam(0.1), steps))
    info = {"emb": ws.VocabInfo(NEW, 5, 0, OLD)}
    report = ws.WarmStartSettings(path, ".*", info, slots=True).init(session)
    of_emb = slots_in(report.loaded, "emb")
    assert len(of_emb) == 2
    for name in ("emb", *of_emb):
        assert follows(session.read(name), old[name])
    for name in slots_in(report.loaded, "a"):
        assert np.array_equal(session.read(name), old[name])


@pytest.mark.parametrize(
    "nine",
    [
        tf.constant_initializer(9.0),
        keras.initializers.Constant(9.0),
        lambda shape, dtype: np.full(shape, 9, dtype),
    ],
    ids=["tf", "keras", "numpy"],
)
def test_initializers(nine, base):
    made = module("ab", n_words=5, seed=1)
    info = {"emb": ws.VocabInfo(NEW, 5, 0, OLD, -1, nine)}
    ws.WarmStartSettings(base[0], [made.emb], info).init(made)
    assert follows(made.emb.numpy(), base[1]["emb"], new=9)


CHANGES = {
    "reordered": ("ba", "ab", "", ""),
    "a layer added": ("cab", "ab", "", "c"),
    "a layer taken out": ("b", "b", "a", ""),
    "one for another": ("cb", "b", "a", "c"),
}


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_slots_stay_with_their_variable(change, steps, base):
    layers, kept, lost, fresh = change
    path, old = base
    made = module(layers, seed=1)
    session = ws.session_for(made, optimizer=trained(made, keras.optimizers.Adam(0.1), steps))
    slots = ws.SmartInit(path).init(session).slots
    assert slots_in(slots.kept, *"abc", "emb") == slots_in(old, *kept, "emb")
    assert {n for names in slots.lost.values() for n in names} == slots_in(old, *lost)
    assert set(slots.fresh) == set(fresh)
    for name in slots.kept:
        assert np.array_equal(session.read(name), old[name])


def test_slots_of_what_is_left_out_of_the_optimizer_are_lost(base):
    path, old = base
    made = module("ab", seed=1)
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([made.emb, made.b])
    session = ws.session_for(made, optimizer=optimizer)
    slots = ws.SmartInit(path).init(session).slots
    assert slots_in(slots.kept, *"ab", "emb") == slots_in(old, "b", "emb")
    assert {n for names in slots.lost.values() for n in names} == slots_in(old, "a")


def test_the_frameworks_own_names_will_do(tmp_path):
    """Here the keys of a checkpoint, as TensorFlow 2 writes it."""
    path = tf.train.Checkpoint(module("ab")).write(str(tmp_path / "tf"))
    made = module("ab", n_words=5, seed=1)
    info = {"emb": ws.VocabInfo(NEW, 5, 0, OLD)}
    assert set(ws.WarmStartSettings(path, ".*", info).init(made).loaded) == {"emb", "a", "b"}
    assert follows(made.emb.numpy(), module("ab").emb.numpy())


@pytest.mark.parametrize(
    ("optimizer", "slot", "first"),
    [
        (
            lambda: keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.25),
            "accumulator",
            0.25,
        ),
        (
            lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.5)
            ),
            "accumulator",
            0.5,
        ),
        (lambda: tf.compat.v1.train.AdagradOptimizer(0.1), "accumulator", np.float32(0.1)),
        (lambda: tf.compat.v1.train.RMSPropOptimizer(0.1), "rms", 1),
        (lambda: keras.optimizers.Adam(0.1), "momentum", 0),
    ],
    ids=["adagrad", "scaled", "adagrad 1", "rmsprop 1", "adam"],
)
@pytest.mark.parametrize("steps", [0, 1])
def test_new_rows_of_a_slot_are_what_the_optimizer_begins_with(
    optimizer, slot, first, steps, tmp_path
):
    source, made = module("ab"), module("ab", n_words=5, seed=1)
    old = ws.session_for(source, optimizer=trained(source, optimizer()))
    ws.save_vars(old, tmp_path / "base")
    session = ws.session_for(made, optimizer=trained(made, optimizer(), steps))
    info = {"emb": ws.VocabInfo(NEW, 5, 0, OLD)}
    ws.WarmStartSettings(tmp_path / "base", ".*", info, slots=True).init(session)
    assert follows(session.read(f"emb/{slot}"), old.read(f"emb/{slot}"), first)
