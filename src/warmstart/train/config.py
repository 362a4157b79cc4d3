"""A training as a value."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import described
from ..names import Pattern
from ..processes import TIMEOUT, Processes
from .callback import Callback, listed
from .defaults import with_defaults
from .processes import do_together
from .run_folder import hold_folders
from .trainer import Model, Trainer, check_trainable

log = logging.getLogger("warmstart")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What `Trainer(model).train` is told; see there."""

    model: Model
    data: Iterable[Any]
    max_epoch: int
    callbacks: Sequence[Callback] | None = None
    session_init: Any = None
    starting_epoch: int = 1
    steps_per_epoch: int | None = None
    accept: Pattern | Iterable[Pattern] = ()
    also: Mapping[str, Any] | None = None
    process_timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        check_trainable(self.model)

    def resume_from(self) -> Path | None:
        """Return the checkpoint to go on from, None to begin anew.

        Every process of a run calls it; what process 0 returns is what counts.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class AutoResumeTrainConfig(TrainConfig):
    """A training that goes on from the latest checkpoint in its folder, where there is one.

    It restores the whole run, so that *session_init* and *starting_epoch* count on the first start
    only; with *always_resume* False, giving either of them is asking to begin anew.  The folder is
    that of the ModelSaver among the callbacks, or else `logger.get_logger_dir()`.
    """

    always_resume: bool = True

    def resume_from(self) -> Path | None:
        from .newest import checkpoint_to_resume
        from .saver import ModelSaver

        asked = self.session_init is not None or self.starting_epoch != 1
        if asked and not self.always_resume:
            return None
        savers = [c for c in listed(self.callbacks or ()) if isinstance(c, ModelSaver)]
        processes = processes_of(self)
        if self.callbacks is not None and not savers and processes.first:
            log.warning(
                "nothing is saved that this run could go on from: there is no ws.ModelSaver() "
                "among the callbacks"
            )
        return checkpoint_to_resume(savers[0].checkpoint_dir if savers else None, processes)


def launch_train(config: TrainConfig) -> Trainer:
    """Train as *config* says and return the trainer."""
    if not isinstance(config, TrainConfig):
        raise TypeError(
            f"launch_train takes a configuration, not {described(config)}: "
            "ws.launch_train(ws.TrainConfig(model=..., data=..., max_epoch=...))"
        )
    trainer = Trainer(config.model)
    arguments = {f.name: getattr(config, f.name) for f in fields(TrainConfig) if f.name != "model"}
    processes = processes_of(config)
    with ExitStack() as held:
        callbacks = with_defaults(config.callbacks, config.model) if processes.first else []
        take = partial(hold_folders, callbacks, trainer, held)
        do_together(processes, "holding the folder", take)
        trainer.train(**arguments, resume_from=chosen(config, processes))
    return trainer


def processes_of(config: TrainConfig) -> Processes:
    """Return the processes that train together, as long as they are to wait for each other."""
    return replace(config.model.session.processes, timeout=config.process_timeout)


def chosen(config: TrainConfig, processes: Processes) -> Path | None:
    """Return the checkpoint to go on from, the same one in all *processes*."""
    path = config.resume_from()
    if processes.count == 1:
        return path
    said = b"" if path is None else os.fsencode(Path(path).absolute())
    agreed = processes.agree("choosing the checkpoint to go on from", lambda: said)
    return Path(os.fsdecode(agreed)) if agreed else None
