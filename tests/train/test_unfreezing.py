"""Groups of layers begin to train one after another, and so they do after a resume."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import warmstart as ws
from warmstart.errors import FreezeError
from warmstart.testing.callbacks import CallbackContract
from warmstart.train.callback import Callback
from warmstart.train.unfreezing import GradualUnfreezing

from .test_prove import CountingModel, moving

EPOCHS = {1: ["head*"], 2: "block*", 4: ["re:norm.*"]}


class TestGradualUnfreezing(CallbackContract):
    def model(self) -> Any:
        model = CountingModel()
        model.session.initialize(list(model.session.specs))
        return model

    def make(self, folder: Path) -> Callback:
        return GradualUnfreezing({1: "*"})


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 4)  # never trains
        self.norm = nn.BatchNorm1d(4)
        self.block = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.2))
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.norm(self.embedding(x))))


def torch_model() -> ws.TorchModel:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    return ws.TorchModel(net, loss=nn.functional.mse_loss, optimizer=optimizer)


def graph_model() -> ws.TFGraph:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default():
        v1.set_random_seed(0)
        x, y = v1.placeholder(tf.float32, [None, 3]), v1.placeholder(tf.float32, [None, 1])
        h = x @ v1.get_variable("embedding.weight", [3, 4])
        h = tf.tanh(h + v1.get_variable("norm.bias", [4]))
        h = tf.tanh(h @ v1.get_variable("block.weight", [4, 4]))
        cost = tf.reduce_mean((h @ v1.get_variable("head.weight", [4, 1]) - y) ** 2)
        optimizer = v1.train.AdamOptimizer(0.01)
        return ws.TFGraph(inputs=[x, y], cost=cost, optimizer=optimizer)


def tree_model() -> ws.JaxModel:
    import jax
    import jax.numpy as jnp
    import optax

    def loss(tree: Any, batch: Any) -> Any:
        h = jnp.tanh(batch[0] @ tree["embedding"] + tree["norm"])
        return ((jnp.tanh(h @ tree["block"]) @ tree["head"] - batch[1]) ** 2).mean()

    shapes = {"embedding": (3, 4), "norm": (4,), "block": (4, 4), "head": (4, 1)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    tree = {n: jax.random.normal(k, shapes[n]) for n, k in zip(shapes, keys, strict=True)}
    return ws.JaxModel(tree, loss=loss, optimizer=optax.adamw(0.01))


def keras_model() -> ws.KerasModel:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    made = (layers.Dense(4, name="embedding"), layers.BatchNormalization(name="norm"),
            layers.Dense(4, "tanh", name="block"), layers.Dense(1, name="head"))  # fmt: skip
    model = keras.Sequential([keras.Input((3,)), *made])
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), "mse", jit_compile=False)
    return ws.KerasModel(model)


def module_model() -> ws.TFModule:
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            random = tf.random.Generator.from_seed(0)
            self.embedding = tf.Variable(random.normal((3, 4)))
            self.norm = tf.Variable(tf.zeros(4))
            self.block = tf.Variable(random.normal((4, 4)))
            self.head = tf.Variable(random.normal((4, 1)))

        def __call__(self, x: Any) -> Any:
            return tf.tanh(tf.tanh(x @ self.embedding + self.norm) @ self.block) @ self.head

    return ws.TFModule(
        Module(),
        loss=lambda out, target: tf.reduce_mean((out - target) ** 2),
        optimizer=tf.keras.optimizers.AdamW(0.01, weight_decay=0.1),
    )


MODELS: dict[str, Callable[[], Any]] = {
    "torch": torch_model,
    "tf": graph_model,
    "jax": tree_model,
    "keras": keras_model,
    "tf2": module_model,
}


@pytest.fixture(params=MODELS)
def make_model(request: pytest.FixtureRequest) -> Callable[[], Any]:
    return MODELS[request.param]


def data() -> ws.Batches:
    inputs = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    return ws.Batches((inputs, inputs[:, :1] * 2), 8)


def train(model: Any, *callbacks: Callback, **options: Any) -> ws.Trainer:
    torch.manual_seed(1)
    trainer = ws.Trainer(model)
    unfreezing = GradualUnfreezing(options.pop("epochs", EPOCHS))
    saver = ws.ModelSaver(every_steps=1, max_to_keep=None)
    trainer.train(
        **{"data": data(), "max_epoch": 5, **options}, callbacks=[unfreezing, *callbacks, saver]
    )
    return trainer


def first_word(name: str) -> str:
    return re.split(r"\W", name)[0]


def test_each_group_begins_to_move_in_its_epoch(
    folder: Path, make_model: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "warmstart")
    model = make_model()
    trainable = {n for n, spec in model.session.specs.items() if spec.role == "trainable"}
    model.session.initialize(list(model.session.specs))
    train(model)
    moved = ws.first_moved(folder, "*")
    assert {first_word(n): m.after for n, m in moved.items() if n in trainable} == {
        "head": 1,
        "block": 3,
        "norm": 9,
    }
    assert "from epoch 2 on train: block" in caplog.text
    assert {spec.role for n, spec in model.session.specs.items() if n in trainable} == {"trainable"}


def test_statistics_of_frozen_layers_are_held(folder: Path) -> None:
    train(torch_model())
    moved = {name: each.after for name, each in ws.first_moved(folder, "*running*").items()}
    assert moved == {
        "norm.running_mean": 9,
        "norm.running_var": 9,
        "block.1.running_mean": 3,
        "block.1.running_var": 3,
    }


#: At which steps runs are cut: where a step is traced anew for each group, that takes seconds.
CUTS = [("torch", 1), ("torch", 3), ("torch", 4), ("torch", 9), ("tf", 3), ("tf", 4), ("jax", 3),
        ("jax", 4), ("keras", 4), ("tf2", 4)]  # fmt: skip


@pytest.mark.parametrize(("kind", "step"), CUTS)
def test_a_resumed_run_ends_with_the_same_bits(folder: Path, kind: str, step: int) -> None:
    make_model = MODELS[kind]
    train(make_model())
    whole = ws.load_vars(folder / "model-15")
    train(make_model(), resume_from=folder / f"model-{step}")
    resumed = ws.load_vars(folder / "model-15")
    assert {n: a.tobytes() for n, a in resumed.items()} == {
        n: a.tobytes() for n, a in whole.items()
    }


def test_optimizer_state_waits_for_its_variable(folder: Path) -> None:
    model = torch_model()
    for _ in range(3):
        model.train_step(next(iter(data())))
    before = model.session.read("norm.weight/exp_avg").copy()
    train(model, epochs={1: "head.*", 9: "norm.*"})
    assert before.any()
    assert model.session.read("norm.weight/exp_avg").tobytes() == before.tobytes()


def test_a_group_that_moved_too_early_is_named(folder: Path) -> None:
    model = CountingModel()
    with pytest.raises(FreezeError, match="1 of 2 frozen variables moved: 'enc/w'"):
        train(model, moving("enc/w", 2), epochs={1: "w", 3: "enc/*"})
    assert not model.session.held


def test_a_group_whose_epoch_never_came_is_proved_at_the_end(folder: Path) -> None:
    with pytest.raises(FreezeError, match="1 of 2 frozen variables moved: 'enc/w'"):
        train(CountingModel(), moving("enc/w", 2), epochs={1: "w", 9: "enc/*"})


def test_patterns_that_match_nothing_are_named(folder: Path) -> None:
    message = r"match none of 10 trainable variables:\n  heads\.\* .*\n  re:x"
    with pytest.raises(FreezeError, match=message):
        train(torch_model(), epochs={1: "heads.*", 2: "re:x"})


def test_with_one_group_refused_nothing_stays_frozen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CountingModel()
    freeze = model.session.freeze

    def refuse(names: Any, **options: Any) -> Any:
        if "enc/w" in names:
            raise FreezeError("no, not that one")
        return freeze(names, **options)

    monkeypatch.setattr(model.session, "freeze", refuse)
    with pytest.raises(FreezeError, match="no, not that one"):
        train(model, epochs={1: "w", 2: "enc/w"})
    assert not model.session.held


@pytest.mark.parametrize("epochs", [{}, {0: "*"}, {1.5: "*"}, {1: "a", -1: "b"}])
def test_epochs_count_from_one(epochs: Any) -> None:
    with pytest.raises(ValueError, match="takes epoch -> patterns, of epochs from 1 on; not"):
        GradualUnfreezing(epochs)


@pytest.mark.parametrize("epochs", [None, "head.*", ["head.*"]])
def test_a_schedule_is_a_mapping(epochs: Any) -> None:
    with pytest.raises(TypeError, match=r"takes epoch -> patterns, not (None|'head|a list)"):
        GradualUnfreezing(epochs)


def test_another_schedule_after_a_resume_is_told(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(CountingModel(), epochs={1: "w", 2: "enc/*"}, max_epoch=1)
    train(CountingModel(), epochs={1: "w", 3: "enc/*"}, resume_from=folder)
    assert (
        "another schedule of unfreezing: the checkpoint has {'1': ['w'], '2': ['enc/*']}, and "
        "from here on it is {'1': ['w'], '3': ['enc/*']}"
    ) in caplog.messages
