"""What the models for training are given, checked before anything is made of it.

    TorchModel(keras_model, ...)      a TypeError that names KerasModel, which is for it
    TorchModel(net, loss="mse")       one that says what a loss is

It refuses to know a framework: a model's own is imported already, and is asked there.
"""

import sys
from collections.abc import Iterable
from typing import Any

from ..errors import described
from .processing import Processor

#: The class of a model, where its framework has it -> the model for training that takes it.
#: A Keras model is a module of PyTorch or TensorFlow too, and so Keras comes first.
MADE_FOR = (
    ("keras", "Layer", "KerasModel"),
    ("torch.nn", "Module", "TorchModel"),
    ("flax.nnx", "Module", "JaxModel"),
    ("tensorflow", "Module", "TFModule"),
)


def made_for(model: Any) -> str | None:
    """Return the name of what makes a live *model* one for training; None where none does."""
    for module, kind, taker in MADE_FOR:
        known = getattr(sys.modules.get(module), kind, None)
        if known is not None and isinstance(model, known):
            return taker
    return None


def check_model(model: Any, taker: str, expected: str, *, fits: bool) -> None:
    """Raise TypeError unless *model* *fits* what *taker* takes, which is *expected*.

    A Keras model does not fit anyone else, whatever its backend makes it.
    """
    right = made_for(model)
    other = right if right != taker else None
    if fits and other is None:
        return
    if isinstance(model, type):
        hint = f"; make one of it: {model.__qualname__}(...)"
    else:
        hint = f"; ws.{other} takes that" if other else ""
    raise TypeError(f"{taker} takes {expected}, not {described(model)}{hint}")


def check_function(what: str, given: Any, expected: str) -> None:
    """Raise TypeError unless *given*, which is *what*, can be called; a class is to be made one."""
    if isinstance(given, type):
        raise TypeError(
            f"{what}= is {described(given)}, not a function; of a loss like that, make one: "
            f"{what}={given.__qualname__}()"
        )
    if not callable(given):
        raise TypeError(f"{what}= is {described(given)}; expected {expected}")


def checked_processors(gradprocs: Iterable[Processor]) -> tuple[Processor, ...]:
    """Return *gradprocs* as a tuple; TypeError for what is no list of gradient processors."""
    if isinstance(gradprocs, type) or hasattr(gradprocs, "process"):
        raise TypeError(f"gradprocs is {described(gradprocs)}, alone; expected a list: [...]")
    if not isinstance(gradprocs, Iterable):
        raise TypeError(f"gradprocs is {described(gradprocs)}; expected a list of processors")
    found = tuple(gradprocs)
    for each in found:
        if isinstance(each, type) or not hasattr(each, "process"):
            raise TypeError(
                f"a gradient processor is {described(each)}; expected an object with "
                "check(names) and process(gradients, ops), such as ws.GlobalNormClip(1.0)"
            )
    return found
