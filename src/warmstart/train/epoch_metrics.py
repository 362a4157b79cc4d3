"""The metrics of one epoch: means over its steps, and what callbacks put."""

from collections.abc import Mapping
from typing import Any


class EpochMetrics:
    """Means over the steps so far, to the last bit the same after a resume in mid-epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._put: dict[str, float] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        """Count one step in; a metric may be missing from some steps."""
        sums, counts = self._sums, self._counts
        for name, value in metrics.items():
            if name in sums:
                sums[name] += float(value)  # float() also keeps float32 scalars from staying so
                counts[name] += 1
            else:
                sums[name] = float(value)
                counts[name] = 1

    def put(self, name: str, value: float) -> None:
        """Set a metric of the epoch to *value*, whatever the steps say."""
        self._put[name] = float(value)

    def values(self) -> dict[str, float]:
        """Return the means so far and what was put."""
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        return {**means, **self._put}

    def state(self) -> dict[str, Any]:
        return {"sums": dict(self._sums), "counts": dict(self._counts), "put": dict(self._put)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._sums = dict(state["sums"])
        self._counts = dict(state["counts"])
        self._put = dict(state["put"])
