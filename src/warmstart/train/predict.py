"""Inference with a trained model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import described
from ..restore.sessinit import SmartInit
from ..sessions import session_for


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """A model, where its variables come from, and what goes in and out.

    *model* is whatever `session_for` takes; *session_init* whatever `SmartInit` takes: an npz, a
    bundle, a run's checkpoint or folder, a dictionary.  With names None, the engine decides: all
    placeholders of a TFGraph, or the arguments and results of a module's `forward`.
    """

    model: Any
    session_init: Any = None
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None


class OfflinePredictor:
    """A function from arrays to a list of arrays, in evaluation mode."""

    def __init__(self, config: PredictConfig) -> None:
        if not isinstance(config, PredictConfig):
            raise TypeError(
                f"OfflinePredictor takes a configuration, not {described(config)}: "
                "ws.OfflinePredictor(ws.PredictConfig(model=..., session_init=...))"
            )
        session = session_for(config.model)
        #: What was restored and what was not.
        self.report = SmartInit(config.session_init).init(session)
        self._predict = session.predictor(config.input_names, config.output_names)

    def __call__(self, *inputs: Any) -> list[np.ndarray]:
        """Return one array per output, a single one in a list as well."""
        return self._predict(*inputs)
