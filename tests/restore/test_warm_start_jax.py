"""WarmStartSettings and vocabularies on JAX trees and NNX modules, and slots by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import warmstart as ws
from warmstart.names import selected

OLD = ["b", "a", "c", "e"]
NEW = ["a", "x", "c", "y", "b"]


def tree(*layers, n_words=4, seed=0):
    """Return a tree of parameters: an embedding, and layers of one shape."""
    emb, *keys = jax.random.split(jax.random.key(seed), len(layers) + 1)
    named = zip(layers, keys, strict=True)
    dense = {name: {"kernel": jax.random.normal(key, (3, 3))} for name, key in named}
    return {"emb": {"embedding": jax.random.normal(emb, (n_words, 3))}, **dense}


def trained(params, optimizer, steps=2):
    """Return the parameters and the state after some steps, each with its own gradient."""
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(params, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.fixture
def base(tmp_path):
    """A checkpoint of a trained tree with its optimizer, and its values."""
    params, state = trained(tree("a", "b"), optax.adam(0.1))
    session = ws.session_for(params, optimizer=state)
    ws.save_vars(session, tmp_path / "base")
    return tmp_path / "base", {name: np.array(session.read(name)) for name in session.specs}


def vocabulary(**fields):
    return {"emb/embedding": ws.VocabInfo(NEW, 5, 0, OLD, **fields)}


def follows(found, old, new=0):
    return np.array_equal(found[[0, 2, 4]], old[[1, 2, 0]]) and (found[[1, 3]] == new).all()


def test_rows_and_slots_follow_the_words(base):
    path, old = base
    params = tree("a", "b", n_words=5, seed=1)
    session = ws.session_for(params, optimizer=optax.adam(0.1).init(params))
    ws.WarmStartSettings(path, ".*", vocabulary(), slots=True).init(session)
    for slot in ("", "/mu", "/nu"):
        name = f"emb/embedding{slot}"
        assert follows(session.read(name), old[name])
    assert np.array_equal(session.read("a/kernel/mu"), old["a/kernel/mu"])


@pytest.mark.parametrize(
    "nine",
    [
        lambda shape, dtype: np.full(shape, 9, dtype),
        jax.nn.initializers.constant(9.0),
        lambda shape, dtype: jnp.full(shape, 9, jnp.bfloat16),
    ],
    ids=["numpy", "jax", "bfloat16"],
)
def test_initializers(nine, base):
    params = tree("a", "b", n_words=5, seed=1)
    session = ws.session_for(params)
    ws.WarmStartSettings(base[0], ".*", vocabulary(backup_initializer=nine)).init(session)
    assert follows(session.read("emb/embedding"), base[1]["emb/embedding"], new=9)


def test_new_rows_of_slots_are_what_the_optimizer_begins_with(tmp_path):
    optimizer = optax.adagrad(0.1, initial_accumulator_value=0.25)
    params, state = trained(tree("a"), optimizer)
    ws.save_vars(ws.session_for(params, optimizer=state), tmp_path / "base")
    params = tree("a", n_words=5)
    session = ws.session_for(params, optimizer=optimizer)
    ws.WarmStartSettings(tmp_path / "base", ".*", vocabulary(), slots=True).init(session)
    (slot,) = [name for name in session.specs if name.startswith("emb/embedding/")]
    assert follows(session.read(slot), ws.load_vars(tmp_path / "base")[slot], new=0.25)


def test_a_module_by_its_variables(tmp_path):
    def module(n_words, seed):
        rngs = nnx.Rngs(seed)
        return nnx.Dict(emb=nnx.Embed(n_words, 3, rngs=rngs), fc=nnx.Linear(3, 3, rngs=rngs))

    old = module(4, 0)
    ws.save_vars(ws.session_for(old), tmp_path / "base")
    new = module(5, 1)
    before = np.array(new.fc.kernel[...])
    info = {"emb/embedding": ws.VocabInfo(NEW, 5, 0, OLD)}
    report = ws.WarmStartSettings(tmp_path / "base", [new.emb.embedding], info).init(new)
    assert report.loaded == ("emb/embedding",)
    assert follows(np.array(new.emb.embedding[...]), np.array(old.emb.embedding[...]))
    assert np.array_equal(new.fc.kernel[...], before)


def test_slots_stay_with_their_variable(base):
    """Layers are kept, taken out and added: the optimizer's state is another tree."""
    path, old = base
    params = tree("c", "b", seed=1)
    session = ws.session_for(params, optimizer=optax.adam(0.1).init(params))
    slots = ws.SmartInit(path).init(session).slots
    kept = {f"{v}/{s}" for v in ("emb/embedding", "b/kernel") for s in ("mu", "nu")}
    assert set(slots.kept) == kept
    assert slots.lost == {str(path): ("a/kernel/mu", "a/kernel/nu")}
    assert slots.fresh == ("c/kernel",)
    for name in kept:
        assert np.array_equal(session.read(name), old[name])


def test_slots_stay_when_a_layer_is_frozen_out_of_the_optimizer(base):
    path, old = base
    params = tree("a", "b", seed=1)
    labels = {"emb": "train", "a": "frozen", "b": "train"}
    parts = {"train": optax.adam(0.1), "frozen": optax.set_to_zero()}
    state = optax.multi_transform(parts, labels).init(params)
    session = ws.session_for(params, optimizer=state)
    slots = ws.SmartInit(path).init(session).slots
    trained_ones = ("emb/embedding", "b/kernel")
    assert set(slots.kept) == {f"{v}/{s}" for v in trained_ones for s in ("mu", "nu")}
    assert slots.lost == {str(path): ("a/kernel/mu", "a/kernel/nu")}
    for name in slots.kept:
        assert np.array_equal(session.read(name), old[name])


# Resuming

INPUTS = np.random.default_rng(0).standard_normal((32, 3)).astype(np.float32)

#: What was done to the model: its layers, those frozen; kept and fresh layers; what to accept.
CHANGES = {
    "reordered": ("cab", "", "abc", "", []),
    "a layer added": ("abcd", "", "abc", "d", ["d/*"]),
    "a layer taken out": ("ac", "", "ac", "", ["b/*"]),
    "one frozen": ("abc", "a", "bc", "", ["a/kernel/*"]),
    "one frozen, one added": ("abcd", "a", "bc", "d", ["a/kernel/*", "d/*"]),
}


def launch(folder, layers, untrained="", *, max_epoch, accept=()):
    """Train, or go on with what is in *folder*; return the trainer."""
    params = {name: value for name, value in tree(*layers, seed=1).items() if name != "emb"}
    labels = {name: "frozen" if name in untrained else "train" for name in params}
    parts = {"train": optax.adam(0.1), "frozen": optax.set_to_zero()}
    optimizer = optax.multi_transform(parts, labels)  # puts its label before the count of steps

    def loss(params, batch):
        (x,) = batch
        for name in sorted(params):
            x = jnp.tanh(x @ params[name]["kernel"])
        return (x**2).mean()

    ws.logger.set_logger_dir(str(folder), action="k")
    config = ws.AutoResumeTrainConfig(
        model=ws.JaxModel(params, loss=loss, optimizer=optimizer),
        data=ws.Batches((INPUTS,), 8),
        callbacks=[ws.ModelSaver()],
        max_epoch=max_epoch,
        accept=accept,
    )
    return ws.launch_train(config)


def slots_of(layers):
    return {f"{layer}/kernel/{slot}" for layer in layers for slot in ("mu", "nu")}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_resume_keeps_slots_by_name(change, tmp_path):
    layers, untrained, kept, fresh, accept = change
    launch(tmp_path, "abc", max_epoch=2)
    old = ws.load_vars(tmp_path)
    trainer = launch(tmp_path, layers, untrained, max_epoch=2, accept=accept)
    assert trainer.step == 8
    for name in slots_of(kept) | {f"{layer}/kernel" for layer in kept}:
        assert np.array_equal(trainer.session.read(name), old[name])
    for name in slots_of(fresh):
        assert not trainer.session.read(name).any()
    trainer = launch(tmp_path, layers, untrained, max_epoch=3, accept=accept)
    assert trainer.step == 12


REFUSED = {name: change for name, change in CHANGES.items() if change[-1]}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_is_not_accepted_is_refused_by_name(change, tmp_path):
    layers, untrained, *_, accept = change
    launch(tmp_path, "abc", max_epoch=2)
    with pytest.raises(ws.ResumeError) as caught:
        launch(tmp_path, layers, untrained, max_epoch=3)
    named = {line.split()[0] for line in str(caught.value).splitlines() if line.startswith("  ")}
    assert named
    assert set(selected(named, accept)) == named
