"""Keras 3 on TensorFlow, JAX or PyTorch: the session on a model, and the hook for its layers."""

from typing import Any

from keras import Layer

from .context import freeze_variables as freeze_variables
from .session import KerasSession
from .unbuilt import build, refuse_unbuilt


def session_for(
    model: Any, *, optimizer: Any = None, input_shape: Any = None, **options: Any
) -> KerasSession | None:
    """Return the session on a `keras.Model` or a layer; None for any other model.

    With *input_shape* (the batch first, None where it is open) a model that is not built yet is
    built, its variables without memory until they are restored or initialized.
    """
    if not isinstance(model, Layer):
        return None
    if options:
        raise TypeError(f"a Keras model takes no option {', '.join(sorted(options))}")
    if input_shape is not None:
        build(model, input_shape)
    refuse_unbuilt(model)
    return KerasSession(model, optimizer)
