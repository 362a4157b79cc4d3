"""What is given by mistake where a model, its loss or its optimizer belongs, in every engine."""

import jax.numpy as jnp
import keras
import numpy as np
import optax
import pytest
import tensorflow as tf
import torch
from flax import nnx

import warmstart as ws

DATA = ws.Batches((np.ones((8, 2), "float32"), np.ones((8, 1), "float32")), 4)
CLIP = ws.GlobalNormClip(1.0)
TREE = {"w": jnp.ones(2)}
TX = optax.sgd(0.1)


class Scale(tf.Module):
    def __init__(self):
        super().__init__()
        self.w = tf.Variable(1.0)


def loss(*given):
    return 0


def net():
    return torch.nn.Linear(2, 1)


def of_keras():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def of_nnx():
    return nnx.Linear(2, 1, rngs=nnx.Rngs(0))


def torch_model(module=None, **options):
    module = net() if module is None else module
    plain = torch.optim.SGD(net().parameters())
    return ws.TorchModel(module, **{"loss": loss, "optimizer": plain, **options})


def jax_model(model=None, **options):
    model = TREE if model is None else model
    return ws.JaxModel(model, **{"loss": loss, "optimizer": TX, **options})


def tf_module(module=None, **options):
    module = Scale() if module is None else module
    plain = tf.keras.optimizers.SGD()
    return ws.TFModule(module, **{"loss": loss, "optimizer": plain, **options})


def freeze_own(model, chosen):
    """Freeze what a function of *model* returns."""
    return ws.freeze(model, chosen(model))


KERAS = "not a keras.src.models.sequential.Sequential; ws.KerasModel takes that"
TORCH = "not a torch.nn.modules.linear.Linear; ws.TorchModel takes that"
NNX = "not a flax.nnx.nn.linear.Linear; ws.JaxModel takes that"
FINE = "the optimizer is the class torch.optim.adam.Adam; expected a torch.optim.Optimizer, such"
WRONG = {
    "keras model for torch": (lambda: torch_model(of_keras()), KERAS),
    "tf.Module for torch": (lambda: torch_model(Scale()), "Scale; ws.TFModule takes that"),
    "class for torch": (
        lambda: torch_model(torch.nn.Linear),
        "takes a torch.nn.Module, not the class torch.nn.modules.linear.Linear; make one of it: L",
    ),
    "torch for keras": (lambda: ws.KerasModel(net()), f"takes a keras.Model, {TORCH}"),
    "class for keras": (lambda: ws.KerasModel(keras.Sequential), "make one of it: Sequential(...)"),
    "torch for jax": (lambda: jax_model(net()), f"a tree with jax.Array leaves, {TORCH}"),
    "keras for jax": (lambda: jax_model(of_keras()), KERAS),
    "none for jax": (lambda: ws.JaxModel(None, loss=loss), "a tree with jax.Array leaves, not No"),
    "torch for tf2": (lambda: tf_module(net()), TORCH),
    "keras for tf2": (lambda: tf_module(of_keras()), KERAS),
    "nnx for tf2": (lambda: tf_module(of_nnx()), NNX),
    "variable for tf2": (lambda: tf_module(tf.Variable(1.0)), "takes a tf.Module, a tf.train.Che"),
    "class of an optimizer": (lambda: torch_model(optimizer=torch.optim.Adam), FINE),
    "no optimizer": (lambda: torch_model(optimizer=None), "the optimizer is None; expected a tor"),
    "name of an optimizer": (
        lambda: ws.session_for(net(), optimizer="adam"),
        "the optimizer is 'adam'; expected a torch.optim.Optimizer",
    ),
    "keras optimizer by name": (
        lambda: ws.session_for(of_keras(), optimizer="adam"),
        "the optimizer is 'adam'; a Keras model takes a keras.optimizers.Optimizer",
    ),
    "tf optimizer by name": (
        lambda: tf_module(optimizer="adam"),
        "the optimizer is 'adam'; expected one of tf.keras.optimizers",
    ),
    "function of optax for a tree": (
        lambda: ws.session_for(TREE, optimizer=optax.adam),
        "the optimizer is the function adam; expected an optax transformation, such as",
    ),
    "name of an optimizer for nnx": (
        lambda: ws.session_for(of_nnx(), optimizer="adam"),
        "the optimizer is 'adam'; expected an optax transformation, such as optax.adam(1e-3), or",
    ),
    "scheduler by name": (
        lambda: torch_model(scheduler="cosine"),
        "the scheduler is 'cosine'; expected one of torch.optim.lr_scheduler",
    ),
    "loss by name": (lambda: jax_model(loss="mse"), "loss= is 'mse'; expected a function of (mod"),
    "no loss": (lambda: jax_model(of_nnx(), loss=None), "loss= is None; expected a function of (m"),
    "loss by name for tf2": (lambda: tf_module(loss="mse"), "loss= is 'mse'; expected a function"),
    "class of a loss": (
        lambda: torch_model(loss=torch.nn.MSELoss),
        "loss= is the class torch.nn.modules.loss.MSELoss, not a function; of a loss like that,",
    ),
    "step by name": (lambda: torch_model(loss=None, step="x"), "step= is 'x'; expected a function"),
    "predict by name": (lambda: jax_model(predict="x"), "predict= is 'x'; expected a function of"),
    "one gradient processor": (
        lambda: torch_model(gradprocs=CLIP),
        "GlobalNormClip, alone; expected a list: [...]",
    ),
    "gradprocs of no list": (lambda: jax_model(gradprocs=1), "gradprocs is 1; expected a list"),
    "class of a gradient processor": (
        lambda: tf_module(gradprocs=[ws.GlobalNormClip]),
        "a gradient processor is the class warmstart.freezing.gradients.GlobalNormClip; expected",
    ),
    "cost of no graph": (
        lambda: ws.TFGraph(inputs=[], cost=tf.ones(())),
        "EagerTensor; expected a tensor of a graph, which is built under",
    ),
    "swapped arguments": (
        lambda: ws.frozen_transform(ws.freeze(ws.session_for(TREE), "w"), TX),
        "transformation is a warmstart.freezing.frozen.Frozen; expected one of optax, such as",
    ),
    "pattern for what is frozen": (
        lambda: ws.frozen_transform(TX, "w"),
        "frozen_transform(transformation, frozen): frozen is 'w'; expected what ws.freeze returned",
    ),
    "session for a class": (
        lambda: ws.session_for(torch.nn.Linear),
        "no session is known for the class torch.nn.modules.linear.Linear; make a model of it, Lin",
    ),
    "freeze of a state_dict": (
        lambda: ws.freeze(net().state_dict(), "*"),
        "for a collections.OrderedDict; values by name are no model, give the one that has them",
    ),
    "init of nothing": (
        lambda: ws.SmartInit(None).init(None),
        "no session is known for None; expected a torch.nn.Module, a keras.Model",
    ),
    "session for a path": (lambda: ws.session_for("m.npz"), "a file is no model, ws.open(PATH) r"),
    "session for an optimizer": (
        lambda: ws.session_for(torch.optim.SGD(net().parameters())),
        "give the module, and this as optimizer=; expected",
    ),
    "bare module to train": (
        lambda: ws.TrainConfig(model=net(), data=DATA, max_epoch=1),
        "a torch.nn.modules.linear.Linear cannot be trained: it needs a .session and a .train_step"
        "(batch); ws.TorchModel(...) makes a model for training of it",
    ),
    "bare tree to train": (
        lambda: ws.Trainer(TREE),
        "a dict cannot be trained: it needs a .session and a .train_step(batch); expected a Torch",
    ),
    "a layer as a pattern": (
        lambda: ws.freeze(net(), net()),
        "a pattern is a string or a compiled regex, or a list of these; not a torch.nn.modules.lin",
    ),
    "parameters as patterns": (
        lambda: freeze_own(net(), lambda module: [module.bias, module.weight]),
        "a torch.nn.parameter.Parameter is no pattern: variables are frozen by name, here 'bias', ",
    ),
    "a parameter where it is to be held": (
        lambda: freeze_own(net(), lambda module: {module.bias: ...}),
        "variables are frozen by name, here 'bias'",
    ),
    "variables of Keras as patterns": (
        lambda: freeze_own(of_keras(), lambda model: model.weights),
        "is no pattern: variables are frozen by name, here 'dense",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_a_type_error_that_says_what_was_expected(name):
    call, message = WRONG[name]
    with pytest.raises(TypeError) as caught:
        call()
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_both_of_swapped_arguments_are_told():
    with pytest.raises(
        TypeError, match=r"; frozen is an optax.*; expected what ws.freeze returned"
    ):
        ws.frozen_transform(ws.freeze(ws.session_for(TREE), "w"), TX)
