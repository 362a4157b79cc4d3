"""The main job from end to end, on scikit-learn's bundled handwritten digits.

The scripts are those of `examples/`, copied to the reader's folder and run there as a person
would; nothing in the story is played.
"""

from pathlib import Path

from .story import tell
from .telling import Telling


def run(
    engine: str = "torch", folder: str | Path = "warmstart-demo", seed: int | None = None
) -> bool:
    """Tell the story with *engine* ("torch", "tf", "keras" or "jax") in *folder*/*engine*.

    Return whether every proof in it holds.  *seed* decides where the training is killed; without
    one it is drawn, and printed.
    """
    telling = Telling(Path(folder).expanduser() / engine)
    tell(telling, engine, seed)
    return not telling.failed
