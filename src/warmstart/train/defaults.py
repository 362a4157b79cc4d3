"""The callbacks that a training has unless told otherwise."""

from collections.abc import Iterable
from typing import Any

from .callback import Callback, listed
from .monitors import JSONWriter
from .progress import ProgressBar
from .saver import ModelSaver
from .update_ops import RunUpdateOps


def with_defaults(callbacks: Iterable[Callback] | None, model: Any) -> list[Callback]:
    """Return *callbacks* and the default ones that are missing from it.

    A ModelSaver is a default only when no list is given at all: whoever gives one decides what is
    saved.
    """
    given = [ModelSaver()] if callbacks is None else listed(callbacks)
    defaults: list[type[Callback]] = [JSONWriter, ProgressBar]
    if getattr(model, "update_ops", None) is not None:
        defaults.append(RunUpdateOps)
    return [*given, *(d() for d in defaults if not any(isinstance(c, d) for c in given))]
