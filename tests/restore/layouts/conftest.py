"""Live layers of each framework as sessions, with random values in all their variables."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from warmstart.layer import Layer
from warmstart.sessions.base import Session
from warmstart.spec import TensorSpec


class Standing(Session):
    """A session on variables that are read and assigned by functions, and on known layers."""

    engine = "standing"

    def __init__(
        self,
        convention: str,
        variables: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]],
        layers: Iterable[Layer],
    ) -> None:
        self.convention = convention
        self._variables = dict(variables)
        self._layers = list(layers)
        arrays = {name: self.read(name) for name in self._variables}
        self._specs = {
            name: TensorSpec(name, array.dtype.name, array.shape, "trainable")
            for name, array in arrays.items()
        }

    @property
    def anchor(self) -> Any:
        return self

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    def read(self, name: str) -> np.ndarray:
        return np.asarray(self._variables[name][0]())

    def _assign(self, values: Any) -> None:
        for name, array in values:
            self._variables[name][1](array)

    def layers(self) -> Iterable[Layer]:
        return self._layers

    def freeze(self, names: Any, **options: Any) -> Any:
        raise NotImplementedError

    def predictor(self, input_names: Any, output_names: Any) -> Any:
        raise NotImplementedError


def standing_keras(layers: Mapping[str, tuple[str, Any, Mapping[str, Any]]]) -> Session:
    """Return a session on Keras layers: path -> (kind, layer, options)."""
    variables: dict[str, Any] = {}
    known = []
    for path, (kind, layer, options) in layers.items():
        weights = [w for w in layer.variables if "seed_generator" not in w.path]
        leaves = {weight.path.split(f"{layer.name}/")[-1]: weight for weight in weights}
        leaves = {leaf.split("_cell/")[-1]: weight for leaf, weight in leaves.items()}
        for leaf, weight in leaves.items():
            variables[f"{path}/{leaf}"] = (weight.numpy, weight.assign)
        known.append(Layer(kind, path, {leaf: f"{path}/{leaf}" for leaf in leaves}, options))
    return Standing("keras", variables, known)


def standing_nnx(layers: Mapping[str, tuple[str, Any, Mapping[str, Any]]]) -> Session:
    """Return a session on NNX modules: path -> (kind, module, options)."""
    from flax import nnx

    variables: dict[str, Any] = {}
    known = []
    for path, (kind, module, options) in layers.items():
        state = nnx.to_flat_state(nnx.state(module, (nnx.Param, nnx.BatchStat)))
        leaves = ["/".join(map(str, key)) for key, _ in state]
        for leaf in leaves:
            owner = module
            *scopes, last = leaf.split("/")
            for scope in scopes:
                owner = getattr(owner, scope)
            variables[f"{path}/{leaf}"] = accessors(getattr(owner, last))
        known.append(Layer(kind, path, {leaf: f"{path}/{leaf}" for leaf in leaves}, options))
    return Standing("flax", variables, known)


def accessors(variable: Any) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import jax.numpy as jnp

    return (lambda: variable[...]), (lambda value: variable.set_value(jnp.asarray(value)))


def randomised(session: Session) -> Session:
    """Give every variable of *session* other values; variances stay positive."""
    values = np.random.default_rng(7)

    def value(name: str, spec: TensorSpec) -> np.ndarray:
        array = values.normal(0, 0.5, spec.shape)
        return (np.abs(array) + 0.5 if name.endswith("var") or "varia" in name else array).astype(
            spec.dtype
        )

    specs = {n: s for n, s in dict(session.specs).items() if s.role in ("trainable", "model")}
    session.assign(
        [(name, value(name, spec)) for name, spec in specs.items() if "float" in spec.dtype]
    )
    return session


@pytest.fixture(scope="session")
def keras_layers():
    return standing_keras


@pytest.fixture(scope="session")
def nnx_layers():
    return standing_nnx


@pytest.fixture(scope="session")
def with_other_values():
    return randomised
