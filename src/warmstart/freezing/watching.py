"""Gradients looked at in every step, and left as they are."""

import re
import sys
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .gradients import GradientOps, SelectedGradients

if TYPE_CHECKING:
    import numpy as np


class WatchedGradients(SelectedGradients):
    """A look at the gradients of the variables that a regex matches."""

    def changed(self, name: str, gradient: Any, ops: GradientOps) -> Any:
        return ops.watched(gradient, partial(self.look, name))

    @abstractmethod
    def look(self, name: str, gradient: "np.ndarray") -> None:
        """Look at the *gradient* of the variable *name* in one step."""


class CheckGradient(WatchedGradients):
    """Stop the training when a gradient has a NaN or an infinity.

    Raise FloatingPointError, which names the variable, before any variable has moved.
    """

    def __init__(self) -> None:
        super().__init__()

    def check(self, names: Sequence[str]) -> None:
        """Nothing can be mistyped: it means all gradients."""

    def look(self, name: str, gradient: "np.ndarray") -> None:
        import numpy as np

        finite = np.isfinite(gradient)
        if not finite.all():
            nans = int(np.isnan(gradient).sum())
            infinities = gradient.size - int(finite.sum()) - nans
            raise FloatingPointError(
                f"the gradient of {name!r} has {nans} NaN and {infinities} infinities among "
                f"{gradient.size} values"
            )


class SummaryGradient(WatchedGradients):
    """Add the root mean square of gradients to the metrics, and draw histograms of them.

    The metric is called `NAME-grad/rms`, a mean over the epoch like others; `TensorBoardWriter`
    draws the gradient of the last step of each epoch as `NAME-grad`.  *collections* is there for
    programs written for Tensorpack, and does nothing.
    """

    def __init__(self, regex: str | re.Pattern[str] = ".*", collections: Any = None) -> None:
        super().__init__(regex)
        self.collections = collections
        self._measured: dict[str, float] = {}
        self._arrays: dict[str, np.ndarray] = {}

    def look(self, name: str, gradient: "np.ndarray") -> None:
        self._measured[f"{name}-grad/rms"] = root_mean_square(gradient)
        self._arrays[f"{name}-grad"] = gradient.copy()  # the memory may be used again

    def measured(self) -> dict[str, float]:
        return dict(self._measured)

    def arrays(self) -> "dict[str, np.ndarray]":
        return dict(self._arrays)


class PrintGradient(WatchedGradients):
    """Print shape, mean, root mean square and the first 20 values of gradients in every step.

    They go to standard error.
    """

    def look(self, name: str, gradient: "np.ndarray") -> None:
        import numpy as np

        exact = gradient.astype(np.complex128 if np.iscomplexobj(gradient) else np.float64)
        mean = exact.mean() if gradient.size else 0.0
        values = " ".join(f"{value:.4g}" for value in exact.reshape(-1)[:20])
        print(
            f"{name}-grad: {gradient.shape} mean {mean:.4g} rms {root_mean_square(gradient):.4g} "
            f"[{values}{' ...' if gradient.size > 20 else ''}]",
            file=sys.stderr,
        )


def root_mean_square(array: "np.ndarray") -> float:
    """Return the root of the mean of the squares in *array*, 0 for an empty one."""
    import numpy as np

    if not array.size:
        return 0.0
    return float(np.sqrt(np.mean(np.square(np.abs(array).astype(np.float64)))))
