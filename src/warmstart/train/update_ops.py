"""Batch-norm statistics and the like, which TensorFlow keeps beside the train op."""

from typing import TYPE_CHECKING

from .callback import Callback

if TYPE_CHECKING:
    from .trainer import Trainer


class RunUpdateOps(Callback):
    """Run the graph's update ops with every training step.

    They are those of `UPDATE_OPS`, but for the ones of frozen variables.  A default with models
    that have update ops (`TFGraph`).
    """

    def start(self, trainer: "Trainer") -> None:
        update_ops = getattr(trainer.model, "update_ops", None)
        if update_ops is None:
            raise TypeError(
                f"a {type(trainer.model).__qualname__} has no update ops; RunUpdateOps is for "
                "graphs (TFGraph)"
            )
        trainer.model.run_with_step(update_ops())  # type: ignore[attr-defined]
