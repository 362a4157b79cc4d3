"""How far the training is, on standard error."""

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

from ..binary.urls import shown
from .callback import MONITOR, Callback

if TYPE_CHECKING:
    from .trainer import Trainer

PERIOD = 0.2  # seconds from one drawing to the next


class ProgressBar(Callback):
    """Show the loss, the rate, the time left: one line redrawn on a terminal, one an epoch else.

    A resumed run says first from where it goes on.
    """

    turn = MONITOR
    first_process_only = True

    def __init__(self, *, file: TextIO | None = None) -> None:
        self._file = file
        self._width = 0  # of the line that stands on the terminal

    def start(self, trainer: "Trainer") -> None:
        self._out = self._file or sys.stderr
        self._terminal = self._out.isatty()
        self._began, self._first = time.monotonic(), trainer.step
        self._next = self._began if self._terminal else float("inf")
        for text in going_on(trainer):
            self._draw(text)
            self._end_line()

    def after_step(self, trainer: "Trainer", metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PERIOD
            self._draw(line(trainer, metrics, now - self._began, self._first))

    def after_epoch(self, trainer: "Trainer") -> None:
        elapsed = time.monotonic() - self._began
        self._draw(line(trainer, trainer.metrics, elapsed, self._first))
        self._end_line()

    def stop(self, trainer: "Trainer") -> None:
        if self._width:
            self._end_line()

    def _draw(self, text: str) -> None:
        """Write *text* over the line that stands there."""
        start = "\r" if self._terminal else ""
        self._out.write(start + text.ljust(self._width))
        self._out.flush()
        self._width = len(text)

    def _end_line(self) -> None:
        self._out.write("\n")
        self._out.flush()
        self._width = 0


def going_on(trainer: "Trainer") -> list[str]:
    """Return what is said of a resumed run when it starts, in lines; nothing of a new one."""
    if trainer.resumed_from is None:
        return []
    over = f"; passed over: {', '.join(trainer.passed_over)}" if trainer.passed_over else ""
    lines = [f"going on from {shown(trainer.resumed_from)} at step {trainer.step}{over}"]
    if trainer.epoch > trainer.max_epoch:
        lines.append(
            f"nothing to do: the run has reached epoch {trainer.epoch - 1}, and max_epoch is "
            f"{trainer.max_epoch}"
        )
    return lines


def line(trainer: "Trainer", metrics: Mapping[str, float], seconds: float, first_step: int) -> str:
    """Return what is shown after *seconds* of a run that began at *first_step*."""
    done = trainer.step - first_step
    rate = done / seconds if seconds > 0 else 0.0
    left = trainer.max_epoch * trainer.steps_per_epoch - trainer.step
    parts = [
        f"epoch {trainer.epoch}/{trainer.max_epoch}",
        f"step {trainer.step_in_epoch}/{trainer.steps_per_epoch}",
        *(f"{name} {value:.4g}" for name, value in metrics.items()),
        f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2g} steps/s",
    ]
    if left > 0 and rate > 0:
        parts.append(f"{timedelta(seconds=round(left / rate))} left")
    return "  ".join(parts)
