"""A `tf.Module` with all that a training step needs.

    model = TFModule(module, loss=loss, optimizer=tf.keras.optimizers.Adam())
    model.prepare()
    metrics = model.train_step((images, labels))        {"loss": 0.53}

The step is one `tf.function`.  It refuses to know the loop, its callbacks and its checkpoints.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status
from tensorflow.python.autograph.impl.api import convert

from ..arguments import check_model, checked_processors
from ..losses import check_one_of, inputs_and_target
from ..processing import Looking, Processor, processed
from ..tf_graph.gradients import GraphOps, product
from ..tf_graph.unresumable import unresumable
from ..tf_graph.walk import operation
from .objects import Trackable, check_optimizer, is_keras_optimizer, variable_in
from .optimizers import build
from .predict import mode_of, tensors
from .session import TF2Session

Losses = Mapping[str, Any]


class TFModule:
    """A module, how its loss is computed, and what moves it."""

    def __init__(
        self,
        module: Any,
        *,
        loss: Callable[[Any, Any], Any] | None = None,
        step: Callable[[Any, Any], Losses] | None = None,
        optimizer: Any,
        jit_compile: bool | None = None,
        gradprocs: Iterable[Processor] = (),
    ) -> None:
        """Train *module* with *optimizer* on `loss(module(*inputs), target)`.

        A batch is then `(input, ..., target)`.  For anything else, *step* is given the module and
        the batch, and returns at least {"loss": tensor}.  A loss of several numbers counts by their
        mean.  *gradprocs* change the gradients, in the order given, before the optimizer sees them.
        """
        fits = isinstance(module, Trackable) and variable_in(module) is None
        check_model(module, "TFModule", "a tf.Module, a tf.train.Checkpoint or the like", fits=fits)
        check_one_of(loss, step)
        check_optimizer(optimizer)
        self.module = module
        self.optimizer = optimizer
        self.session = TF2Session(module, optimizer)
        self.gradprocs = checked_processors(gradprocs)
        self._losses = converted(step or supervised(loss))
        self._looking = Looking()
        self._looks: set[str] = set()  # operations that are our own
        self._prepared = False
        self._step = tf.function(self._trace, jit_compile=jit_compile, autograph=False)

    def prepare(self) -> None:
        """Let the optimizer make its slots; RuleError for a rule on gradients that means none."""
        trained = self.session.look().trained
        if not trained:
            raise ValueError("the module has no trainable variables yet; call it once to make them")
        build(self.optimizer, [v.value for v in trained])
        for processor in self.gradprocs:
            processor.check([v.name for v in trained])
        self._prepared = True

    def train_step(self, batch: Any) -> dict[str, float]:
        """Take one step on *batch*; return "loss" and whatever else `step` computed."""
        if not self._prepared:
            self.prepare()
        try:
            losses = self._step(tensors(batch))
        except tf.errors.OpError as error:
            self._looking.raise_kept(error)
            raise
        return {name: float(value) for name, value in losses.items()}

    def _trace(self, batch: Any) -> dict[str, Any]:
        """Compute the losses and move the variables; `tf.function` makes a graph of this."""
        with tf.GradientTape() as tape:
            losses = checked_losses(self._losses(self.module, batch))
            scaled = self._scale(losses["loss"])
        variables = {v.name: v.value for v in self.session.look().trainable}
        sources = {name: variable_in(value) for name, value in variables.items()}
        gradients = tape.gradient(scaled, sources)
        gradients, looks = self._processed(gradients, sources)
        with tf.control_dependencies(looks):
            self._apply([(g, variables[n]) for n, g in gradients.items() if g is not None])
        self._look_into_trace()
        return losses

    def _scale(self, loss: Any) -> Any:
        """Return *loss* as large as the optimizer wants it, for gradients in half precision."""
        return self.optimizer.scale_loss(loss) if is_keras_optimizer(self.optimizer) else loss

    def _processed(
        self, gradients: dict[str, Any], variables: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[Any]]:
        """Return what the processors make of *gradients*, unscaled for them, and their looks."""
        if not self.gradprocs:
            return gradients, []
        ops = GraphOps(variables, self._looking)
        scale = self._scale(tf.ones(()))
        found = times(gradients, 1 / scale)
        found = times(processed(self.gradprocs, found, ops), scale)
        self._looks |= {operation(look).name for look in ops.looks}
        return found, ops.looks

    def _apply(self, pairs: list[tuple[Any, Any]]) -> None:
        """Let the optimizer move what has a gradient; without any it only counts the step."""
        if pairs:
            self.optimizer.apply_gradients(pairs)
        elif is_keras_optimizer(self.optimizer):
            self.optimizer.iterations.assign_add(1)

    def _look_into_trace(self) -> None:
        """Note what the step being traced uses that no checkpoint can hold."""
        found = unresumable(tf.compat.v1.get_default_graph().get_operations())
        self.session.note({n: why for n, why in found.items() if n not in self._looks})


def converted(function: Any) -> Any:
    """Return *function* with its `if` and `for` on tensors as operations, as tf.function has it.

    Only what the user wrote is converted, not the step around it.
    """
    return convert(recursive=True, conversion_ctx=ControlStatusCtx(Status.ENABLED))(function)


def times(gradients: Mapping[str, Any], factor: Any) -> dict[str, Any]:
    """Return *factor* times each gradient that there is."""
    return {name: None if g is None else product(g, factor) for name, g in gradients.items()}


def checked_losses(losses: Any) -> dict[str, Any]:
    """Return what a step computed as tensors; a loss of several numbers counts by their mean."""
    if not isinstance(losses, Mapping) or "loss" not in losses:
        given = ", ".join(losses) if isinstance(losses, Mapping) else type(losses).__name__
        raise ValueError(f"step= returned {given or 'nothing'}; expected a dict with 'loss'")
    found = {name: tf.convert_to_tensor(value) for name, value in losses.items()}
    found["loss"] = tf.reduce_mean(found["loss"])
    wrong = [f"{name} {value.shape}" for name, value in found.items() if value.shape.rank != 0]
    if wrong:
        raise ValueError(f"what step= returns is reported as numbers; not so: {', '.join(wrong)}")
    return found


def supervised(loss: Any) -> Callable[[Any, Any], Losses]:
    """Return the step that computes `loss(module(*inputs), target)` of `(*inputs, target)`.

    A `training` or `is_training` that the module takes is True.
    """

    def step(module: Any, batch: Any) -> Losses:
        inputs, target = inputs_and_target(batch)
        return {"loss": loss(module(*inputs, **mode_of(module, training=True)), target)}

    return step
