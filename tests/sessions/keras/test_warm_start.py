"""WarmStartSettings, vocabularies and slots by name on Keras models, on each backend."""

import keras
import numpy as np
import pytest

import warmstart as ws
from warmstart.names import parent

OLD = ["b", "a", "c", "e"]
NEW = ["a", "x", "c", "y", "b"]


def model(layers, n_words=4, seed=0):
    """Return a model with an embedding, and layers of one shape in the order of *layers*."""
    keras.utils.set_random_seed(seed)
    start = keras.Input((2,), dtype="int32")
    x = keras.layers.Embedding(n_words, 3, name="emb")(start)
    for name in layers:
        x = keras.layers.Dense(3, use_bias=False, name=name)(x)
    return keras.Model(start, x)


def trained(made, optimizer, steps=2):
    """Return *optimizer* after some steps, in each of which a variable is its own gradient."""
    variables = made.trainable_variables
    optimizer.build(variables)
    for _ in range(steps):
        gradients = [
            keras.ops.convert_to_tensor(keras.ops.convert_to_numpy(v) + 0) for v in variables
        ]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return optimizer


def adam():
    return keras.optimizers.Adam(0.1)


@pytest.fixture
def base(tmp_path):
    """A checkpoint of a trained model with its optimizer, and its values."""
    made = model("ab")
    session = ws.session_for(made, optimizer=trained(made, adam()))
    ws.save_vars(session, tmp_path / "base")
    return tmp_path / "base", {name: np.array(session.read(name)) for name in session.specs}


def variable_of(session, layer):
    """Return the name of the one variable of *layer*."""
    (name,) = [
        n for n, s in session.specs.items() if s.role == "trainable" and layer in n.split("/")
    ]
    return name


def slots_of(session, *layers):
    owners = {variable_of(session, layer) for layer in layers}
    return {n for n, spec in session.specs.items() if spec.role == "slot" and parent(n) in owners}


def follows(found, old, new=0):
    return np.array_equal(found[[0, 2, 4]], old[[1, 2, 0]]) and (found[[1, 3]] == new).all()


@pytest.mark.parametrize("steps", [None, 0, 1])
def test_rows_and_slots_follow_the_words(steps, base):
    path, old = base
    made = model("ab", n_words=5, seed=1)
    optimizer = adam() if steps is None else trained(made, adam(), steps)
    session = ws.session_for(made, optimizer=optimizer)
    emb = variable_of(session, "emb")
    info = {emb: ws.VocabInfo(NEW, 5, 0, OLD)}
    report = ws.WarmStartSettings(path, ".*", info, slots=True).init(session)
    slots = slots_of(session, "emb")
    assert len(slots) == 2
    assert slots <= set(report.loaded)
    for name in (emb, *slots):
        assert follows(session.read(name), old[name])
    for name in slots_of(session, "a"):
        assert np.array_equal(session.read(name), old[name])


@pytest.mark.parametrize(
    "nine",
    [keras.initializers.Constant(9.0), lambda shape, dtype: np.full(shape, 9, dtype)],
    ids=["keras", "numpy"],
)
def test_initializers(nine, base):
    made = model("ab", n_words=5, seed=1)
    session = ws.session_for(made)
    emb = variable_of(session, "emb")
    info = {emb: ws.VocabInfo(NEW, 5, 0, OLD, -1, nine)}
    report = ws.WarmStartSettings(base[0], made.get_layer("emb").weights, info).init(session)
    assert report.loaded == (emb,)
    assert follows(session.read(emb), base[1][emb], new=9)


def test_new_rows_of_slots_are_what_the_optimizer_begins_with(tmp_path):
    made = model("a")
    optimizer = keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.25)
    ws.save_vars(ws.session_for(made, optimizer=trained(made, optimizer)), tmp_path / "base")
    old = ws.load_vars(tmp_path / "base")
    other = model("a", n_words=5, seed=1)
    optimizer = keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.25)
    session = ws.session_for(other, optimizer=trained(other, optimizer))
    info = {variable_of(session, "emb"): ws.VocabInfo(NEW, 5, 0, OLD)}
    ws.WarmStartSettings(tmp_path / "base", ".*", info, slots=True).init(session)
    (slot,) = slots_of(session, "emb")
    assert follows(session.read(slot), old[slot], new=0.25)


CHANGES = {
    "reordered": ("ba", "ab", "", ""),
    "a layer added": ("cab", "ab", "", "c"),
    "a layer taken out": ("b", "b", "a", ""),
    "one for another": ("cb", "b", "a", "c"),
}


@pytest.mark.parametrize("steps", [None, 1])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_slots_stay_with_their_variable(change, steps, base):
    layers, kept, lost, fresh = change
    path, old = base
    made = model(layers, seed=1)
    optimizer = adam() if steps is None else trained(made, adam(), steps)
    session = ws.session_for(made, optimizer=optimizer)
    slots = ws.SmartInit(path).init(session).slots
    assert set(slots.kept) == slots_of(session, *kept, "emb")
    gone = {n for names in slots.lost.values() for n in names}
    assert {layer for layer in "abc" for name in gone if layer in name.split("/")} == set(lost)
    assert len(gone) == 2 * len(lost)
    assert set(slots.fresh) == {variable_of(session, layer) for layer in fresh}
    for name in slots.kept:
        assert np.array_equal(session.read(name), old[name])


def test_slots_of_a_layer_that_was_frozen_are_lost(base):
    path, old = base
    made = model("ab", seed=1)
    made.get_layer("a").trainable = False
    session = ws.session_for(made, optimizer=trained(made, adam()))
    slots = ws.SmartInit(path).init(session).slots
    assert set(slots.kept) == slots_of(session, "b", "emb")
    assert len(slots.lost[str(path)]) == 2
    for name in slots.kept:
        assert np.array_equal(session.read(name), old[name])
