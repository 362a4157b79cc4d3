"""scikit-learn's neural networks as sessions: loaded by name, frozen, resumed.

Variables: layer{0..n}/{weights,bias}; with Adam their slots m and v, and the step count t.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from warmstart import CheckpointError, FreezeError, Session, TensorSpec
from warmstart.names import parent
from warmstart.source import no_such_tensor
from warmstart.spec import spec_of


def session_for(model: Any, *, optimizer: Any = None, **options: Any) -> Session | None:
    """Return the session on *model*, None when it is no network of scikit-learn's."""
    return MLPSession(model) if isinstance(model, MLPClassifier | MLPRegressor) else None


class MLPSession(Session):
    """A network that `partial_fit` trains; one call makes its variables."""

    engine = "sklearn"

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "_optimizer"):
            raise CheckpointError("the network has no variables yet: call partial_fit once first")
        self._model = model

    @property
    def anchor(self) -> Any:
        return self._model

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        variables = {n: spec_of(n, a, "trainable") for n, a in self.parameters().items()}
        slots = {n: spec_of(n, a, "slot") for n, a in self.slots().items()}
        return variables | slots | {"t": TensorSpec("t", "int64", (), "run")}

    def parameters(self) -> dict[str, np.ndarray]:
        """Return the variables in the order the optimizer has them."""
        weights = {f"layer{i}/weights": a for i, a in enumerate(self._model.coefs_)}
        return weights | {f"layer{i}/bias": a for i, a in enumerate(self._model.intercepts_)}

    def slots(self) -> dict[str, np.ndarray]:
        optimizer = self._model._optimizer
        kinds = {"m": optimizer.ms, "v": optimizer.vs}
        names = list(self.parameters())
        return {f"{n}/{k}": a for k, s in kinds.items() for n, a in zip(names, s, strict=True)}

    def read(self, name: str) -> np.ndarray:
        arrays = self.parameters() | self.slots() | {"t": np.array(self._model._optimizer.t)}
        if name not in arrays:
            raise no_such_tensor(name, self.specs)
        return arrays[name]

    def _assign(self, values: Iterable[tuple[str, np.ndarray]]) -> None:
        for name, value in values:
            if name == "t":
                self._model._optimizer.t = int(value)
            else:
                self.read(name)[...] = value

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Any] | None = None,
    ) -> "Held":
        if regions:
            raise FreezeError(f"{', '.join(regions)}: only whole variables can be frozen here")
        return Held(self, names)

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> Callable[..., list[np.ndarray]]:
        return lambda images: [self._model.predict(images)]


class Held:
    """Variables that every update of the optimizer leaves as they were, their slots too."""

    def __init__(self, session: MLPSession, names: Collection[str]) -> None:
        self.names = tuple(names)
        self.regions: Mapping[str, Any] = {}
        self._session = session
        self._optimizer = session.anchor._optimizer
        self._update = self._optimizer.update_params
        self._optimizer.update_params = self.update

    def update(self, parameters: Any, gradients: Any) -> None:
        slots = [name for name in self._session.slots() if parent(name) in self.names]
        held = [(n, self._session.read(n).copy()) for n in (*self.names, *slots) if n != "t"]
        self._update(parameters, gradients)
        self._session._assign(held)

    def thaw(self) -> None:
        self._optimizer.update_params = self._update
