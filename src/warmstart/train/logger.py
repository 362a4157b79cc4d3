"""The folder of a run: where checkpoints and statistics go unless a callback is given another.

    ws.logger.set_logger_dir("train_log/mnist")

Messages are Python's business: `logging.getLogger("warmstart")`, to which nothing is added here.
"""

import os
import shutil
import sys
from pathlib import Path

from ..binary.remote import is_url
from ..formats import expanded

_folder: Path | None = None

#: The environment variable that takes the place of what a program says, as `prove` needs it.
FOLDER_VARIABLE = "WARMSTART_LOGGER_DIR"

ACTIONS = {
    "k": "keep what is there, to go on from it; the default",
    "b": "move the folder aside, to NAME.1, NAME.2, ...",
    "d": "delete the folder",
    "n": "use a new folder beside it: NAME-1, NAME-2, ...",
    "q": "refuse a folder with files in it",
}


def set_logger_dir(dirname: str | os.PathLike[str], action: str | None = None) -> Path:
    """Make *dirname* the folder of this run and return it; *action* is a key of `ACTIONS`.

    The environment variable WARMSTART_LOGGER_DIR, where it is set, counts in place of *dirname*.
    """
    global _folder  # noqa: PLW0603  (one run a process, as the reference has it)
    dirname = os.environ.get(FOLDER_VARIABLE) or dirname
    if is_url(dirname):
        raise ValueError(
            f"the folder of a run is a local one, where its statistics grow line by line; to save "
            f"at {dirname}: ws.ModelSaver(checkpoint_dir={str(dirname)!r})"
        )
    folder = Path(dirname).expanduser().absolute()
    if action is not None and action not in ACTIONS:
        known = "; ".join(f"{key}: {what}" for key, what in ACTIONS.items())
        raise ValueError(f"no action is called {action!r}; known: {known}")
    if folder.is_dir() and any(folder.iterdir()):
        folder = _made_ready(folder, action)
    folder.mkdir(parents=True, exist_ok=True)
    _folder = folder
    return folder


def auto_set_dir(action: str | None = None, name: str | None = None) -> Path:
    """Make `train_log/SCRIPT` the folder of this run, or `train_log/SCRIPT:NAME`."""
    script = Path(sys.argv[0]).stem or "run"
    return set_logger_dir(Path("train_log", f"{script}:{name}" if name else script), action)


def get_logger_dir() -> Path | None:
    """Return the folder of this run, None when none was set."""
    return _folder


def folder_for(checkpoint_dir: str | os.PathLike[str] | None) -> Path:
    """Return *checkpoint_dir* or else the folder of this run, made if need be.

    Of a URL, the local folder that stands for it.
    """
    if checkpoint_dir is None and _folder is None:
        raise ValueError(
            "there is no folder to write to: call ws.logger.set_logger_dir(FOLDER) before the "
            "training, or give the callback a folder of its own"
        )
    folder = expanded(os.fspath(checkpoint_dir or str(_folder)))
    if not folder.is_dir():
        folder.mkdir(parents=True)
    return folder


def _made_ready(folder: Path, action: str | None) -> Path:
    """Return the folder to use where *folder* has files in it."""
    match action:
        case "b":
            folder.rename(free_name(folder))
        case "d":
            shutil.rmtree(folder)
        case "n":
            return free_name(folder, "-")
        case "q":
            raise FileExistsError(
                f"{folder} has files in it; pass action=None to go on from them, or another action"
            )
    return folder


def free_name(path: Path, separator: str = ".") -> Path:
    """Return *path* with the first number after its name that nothing has: stats.jsonl.1."""
    number = 1
    while (free := path.with_name(f"{path.name}{separator}{number}")).exists():
        number += 1
    return free
