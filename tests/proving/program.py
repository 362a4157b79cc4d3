"""A training of this library that prove kills: program.py FOLDER [--forget|--unused|--hang]"""

import os
import random
import sys
import time
from typing import Any

import numpy as np

import warmstart as ws
from warmstart.testing.toy import ToyModel


def main(folder: str, *options: str) -> None:
    """Train; with --forget the momentum is lost on resume, with --unused a generator not seeded."""

    replace = os.replace

    def slowly(*names: Any) -> None:
        time.sleep(0.005)  # as long as a file takes that is not small
        replace(*names)

    def resumed(trainer: Any) -> None:
        if trainer.resumed_from is not None and "--forget" in options:
            trainer.session.assign([("w/momentum", np.zeros(3))])

    def pause(trainer: Any, metrics: Any) -> None:
        time.sleep(0.02)
        while "--hang" in options:
            time.sleep(1)

    os.replace = slowly
    np.random.seed(0)
    if "--unused" not in options:
        random.seed(0)
    inputs = np.random.standard_normal((20, 3))
    callbacks = [ws.Callback(start=resumed, after_step=pause), ws.MinSaver("loss")]
    ws.logger.set_logger_dir(folder)
    ws.launch_train(
        ws.AutoResumeTrainConfig(
            model=ToyModel(),
            data=ws.Batches((inputs, inputs[:, 0]), 4),
            callbacks=[*callbacks, ws.ModelSaver(3)],
            max_epoch=6,
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
