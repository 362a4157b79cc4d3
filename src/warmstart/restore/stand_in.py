"""A checkpoint that stands in for a model: for planning from one checkpoint to another."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import CheckpointError
from ..sessions.base import Session
from ..source import Index, Source
from ..spec import RUN_PREFIX, TensorSpec
from .slots import is_counter, training_only

if TYPE_CHECKING:
    import numpy as np


class StandIn(Session):
    """The variables of a checkpoint as if they were a model's, to be planned for and never set."""

    engine = "a checkpoint"

    def __init__(self, source: Source) -> None:
        self._source = source
        specs = {n: s for n, s in source.specs.items() if not n.startswith(RUN_PREFIX)}
        for_training = training_only(specs)
        self._specs = {
            name: spec if spec.role else spec._replace(role=role_of(name, for_training))
            for name, spec in specs.items()
        }

    @property
    def anchor(self) -> Any:
        return self

    @property
    def specs(self) -> Mapping[str, TensorSpec]:
        return self._specs

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._source.aliases

    def read(self, name: str) -> "np.ndarray":
        return self._source.read(name)

    def _assign(self, values: "Iterable[tuple[str, np.ndarray]]") -> None:
        refuse()

    def freeze(
        self,
        names: Collection[str],
        *,
        train_statistics: bool = False,
        regions: Mapping[str, Index] | None = None,
    ) -> NoReturn:
        refuse()

    def predictor(
        self, input_names: Sequence[str] | None, output_names: Sequence[str] | None
    ) -> "Callable[..., list[np.ndarray]]":
        refuse()


def role_of(name: str, for_training: Collection[str]) -> str:
    """Return what a tensor without a role is taken to be for, *for_training* being no model's."""
    if name not in for_training:
        return "trainable"
    return "run" if is_counter(name) else "slot"


def refuse() -> NoReturn:
    """Raise: what stands in for a model is none."""
    raise CheckpointError("a checkpoint stands in for the model here; it can only be planned for")
