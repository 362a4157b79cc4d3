"""A compiled Keras model as the training loop takes it.

    model = KerasModel(keras_model)
    metrics = model.train_step((images, labels))        {"loss": 0.53, "accuracy": 0.81}

It takes the step that `fit` takes, of `model.train_step`, compiled as the model was compiled.  It
refuses to know the loop, its callbacks and its checkpoints.
"""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from ..arguments import check_model, checked_processors
from ..processing import Processor
from . import guard
from .arrays import BACKEND
from .compiled import compile_anew
from .gradients import ProcessedGradients
from .optimizer import innermost
from .session import KerasSession, sync


class KerasModel:
    """A compiled model, what moves it, and what is done to its gradients."""

    def __init__(self, model: Any, *, gradprocs: Iterable[Processor] = ()) -> None:
        """Train *model* as it was compiled; a batch is (x, y), (x, y, sample_weight) or x alone.

        *gradprocs* change the gradients before the optimizer of the model sees them, in `fit` too.
        Metrics are those of the batch: Keras' running means begin anew with every step.
        """
        fits = isinstance(model, keras.Model)
        check_model(model, "KerasModel", "a keras.Model", fits=fits)
        if not model.compiled or model.optimizer is None:
            raise ValueError(
                f"the model {model.name!r} is not compiled: model.compile(optimizer=..., loss=...)"
            )
        if model.steps_per_execution != 1:
            raise ValueError(
                f"the model {model.name!r} takes {model.steps_per_execution} steps at once; "
                "a training step is one: model.compile(..., steps_per_execution=1)"
            )
        self.model = model
        self.gradprocs = checked_processors(gradprocs)
        self.session = KerasSession(model)
        self._processing: ProcessedGradients | None = None
        self._ready = False

    def train_step(self, batch: Any) -> dict[str, float]:
        """Take one step on *batch*; return the loss and the metrics of the batch."""
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        data = (x, y, weight)
        if not self._ready:
            self._prepare(data)
        with self._processing.raising() if self._processing else nullcontext():
            self.model.reset_metrics()
            return as_floats(STEPS[BACKEND](self.model, data))

    def state(self) -> dict[str, Any]:
        """Return nothing: what a schedule depends on is the optimizer's own counter."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back nothing."""

    def _prepare(self, data: Any) -> None:
        """Build whatever is not built yet, and the processing of gradients."""
        model = self.model
        model._symbolic_build(data_batch=data)
        sync(model)
        if self.gradprocs:
            specs = self.session.specs
            trained = {
                name: each.live
                for name, each in self.session.look().by_name.items()
                if specs[name].role == "trainable"
            }
            xla = bool(model.jit_compile) and not model.run_eagerly
            self._processing = ProcessedGradients(self.gradprocs, trained, xla=xla)
            guard.process(innermost(model.optimizer), self._processing)
            compile_anew(model)
        if BACKEND == "tensorflow":
            from .looking import look_at_steps

            look_at_steps(model, self.session, self._own_operations)
        self._ready = True

    def _own_operations(self) -> set[str]:
        """Return the names of the operations by which processors look at gradients."""
        return self._processing.own_operations() if self._processing else set()


def step_of_tensorflow(model: Any, data: Any) -> Any:
    """Take the step of a model whose function assigns to the variables itself."""
    model.make_train_function()
    return model.train_function(iter([data]))


def step_of_torch(model: Any, data: Any) -> Any:
    """Take the step of a model whose variables are written into."""
    model.make_train_function()
    if not model.training:
        model.train()
    return model.train_function([data])


def step_of_jax(model: Any, data: Any) -> Any:
    """Take the step of a model whose function is given the values, and returns the new ones.

    The function may use up what it is given, so the variables get the new values at once, and not
    when somebody asks for them.  Gradients that are looked at may stop the step: then it is given
    copies.
    """
    import jax

    model.make_train_function()
    lists = (model.trainable_variables, model.non_trainable_variables,
             model.optimizer.variables, model.metrics_variables)  # fmt: skip
    state = tuple([v._value for v in variables] for variables in lists)
    watched = innermost(model.optimizer) in guard.PROCESSING
    if watched:
        state = jax.tree.map(jax.numpy.copy, state)
    logs, new = model.train_function(state, iter([jax.tree.map(jax.device_put, data)]))
    if watched:
        jax.effects_barrier()  # type: ignore[no-untyped-call]
    for variables, values in zip(lists, new, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable._value = value
    return logs


STEPS = {"tensorflow": step_of_tensorflow, "torch": step_of_torch, "jax": step_of_jax}


def as_floats(logs: Any) -> dict[str, float]:
    """Return what Keras logs as numbers by name; of several in one metric, each by its index."""
    found: dict[str, float] = {}
    for name, value in logs.items():
        if isinstance(value, Mapping):
            found |= as_floats(value)
            continue
        array = np.asarray(keras.ops.convert_to_numpy(value))
        if array.ndim == 0:
            found[name] = float(array)
        else:
            found |= {f"{name}/{i}": float(each) for i, each in enumerate(array.ravel())}
    return found
