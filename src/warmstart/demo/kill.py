"""Run a training script and kill it with SIGKILL after a given step: no clean-up, no last save.

python -m warmstart.demo.kill 137 mnist_ext.py [its arguments]
"""

import os
import runpy
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import warmstart as ws

from ..train.callback import Callback


class KillAfter(Callback):
    """Kill this process once *step* steps are complete, as a machine that goes away would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def after_step(self, trainer: Any, metrics: Mapping[str, float]) -> None:
        if trainer.step >= self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(step: int, script: str) -> None:
    """Run *script* as `python script` would, with KillAfter among its callbacks."""
    launch = ws.launch_train
    sys.path[0] = str(Path(script).parent)

    def launch_and_kill(config: Any) -> Any:
        callbacks = [*(config.callbacks or ()), KillAfter(step)]
        return launch(replace(config, callbacks=callbacks))

    ws.launch_train = launch_and_kill
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    kill_after, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    main(int(kill_after), script)
