"""What a model's gradient processors tell of each step."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..freezing.gradients import GradientProcessor
    from .trainer import Trainer


def processors_of(trainer: "Trainer") -> "Sequence[GradientProcessor]":
    """Return the gradient processors of the model, which shows them as `gradprocs`."""
    return getattr(trainer.model, "gradprocs", ())


def step_of(trainer: "Trainer") -> Callable[[Any], Mapping[str, float]]:
    """Return the model's step; what its processors measure is among the metrics.

    A gradient that is not finite is told with the step.
    """
    take, processors = trainer.model.train_step, processors_of(trainer)
    if not processors:
        return take

    def step(batch: Any) -> Mapping[str, float]:
        try:
            metrics = take(batch)
        except FloatingPointError as error:
            error.add_note(f"in epoch {trainer.epoch}, after {trainer.step} steps")
            raise
        measured = {name: v for each in processors for name, v in each.measured().items()}
        return {**metrics, **measured}

    return step
