"""A model of nothing but NumPy, to test callbacks, data sources and the loop with."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FreezeError
from ..sessions.base import Freezing, Session
from ..source import Index, no_such_tensor
from ..spec import TensorSpec, spec_of

ROLES = {"w": "trainable", "w/momentum": "slot"}


class ToySession(Session):
    """Two variables in memory and a random generator of its own."""

    engine = "toy"

    def __init__(self, features: int) -> None:
        self.arrays = {"w": np.zeros(features), "w/momentum": np.zeros(features)}
        self.generator = np.random.default_rng(0)

    @property
    def anchor(self) -> Any:
        return self

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return {name: spec_of(name, array, ROLES[name]) for name, array in self.arrays.items()}

    def read(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise no_such_tensor(name, self.specs)
        return self.arrays[name]

    def _assign(self, values: Iterable[tuple[str, np.ndarray]]) -> None:
        for name, array in values:
            self.arrays[name] = np.array(array)

    def state(self) -> dict[str, Any]:
        return {"generator": self.generator.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.generator.bit_generator.state = state["generator"]

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> Freezing:
        raise FreezeError("a toy cannot be frozen")

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        return lambda inputs: [inputs @ self.arrays["w"]]


class ToyModel:
    """Linear regression by SGD with momentum, with noise from three generators on every step.

    A batch is (inputs, targets), or anything when there are no *features*: then a step is nothing.
    """

    def __init__(self, features: int = 3) -> None:
        self.session = ToySession(features)
        self.rate = 0.1  # decays, so that it must survive a resume

    def train_step(self, batch: Any) -> Mapping[str, float]:
        inputs, targets = batch
        arrays = self.session.arrays
        error = inputs @ arrays["w"] - targets
        gradient = inputs.T @ error / len(error)
        noise = np.random.standard_normal() + self.session.generator.standard_normal()
        arrays["w/momentum"] = 0.9 * arrays["w/momentum"] + gradient + 0.01 * noise
        arrays["w"] = arrays["w"] - self.rate * arrays["w/momentum"]
        self.rate *= 0.99
        return {"loss": float(np.mean(error**2)), "noise": float(noise)}

    def state(self) -> dict[str, Any]:
        return {"rate": self.rate}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.rate = state["rate"]
