"""A training that is not of this library: foreign.py FOLDER [--unseeded | --fragile]"""

import os
import sys
import time
from pathlib import Path

import numpy as np


def main(folder: str, *options: str) -> None:
    """Train 25 steps, saving an npz after each."""
    last = Path(folder, "last.npz")
    if any(last.parent.iterdir()) and "--fragile" in options:
        sys.exit("this program cannot go on")
    last.with_name("begun").touch()
    begin = np.random.default_rng(None if "--unseeded" in options else 0).standard_normal(3)
    state = dict(np.load(last)) if last.exists() else {"w": begin, "step": np.int64(0)}
    while state["step"] < 25:
        state = {"w": state["w"] * 1.01 + state["step"], "step": state["step"] + 1}
        time.sleep(0.015)
        np.savez(last.with_name("new.tmp.npz"), **state)
        time.sleep(0.01)  # as long as a large file takes
        os.replace(last.with_name("new.tmp.npz"), last)


if __name__ == "__main__":
    main(*sys.argv[1:])
