"""The command line as a person sees it: exit code, standard output, standard error."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from warmstart.cli import run
from warmstart.files.variables import save_vars
from warmstart.source import DictSource


@dataclass(frozen=True)
class Done:
    """A command that ran."""

    code: int
    out: str
    err: str


@pytest.fixture
def warmstart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Return a function that runs a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        code = run(arguments)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Save the bundle `m`: every role, a tied tensor, run state and metadata."""
    arrays = {
        "fc/kernel": np.arange(6, dtype="f4").reshape(2, 3),
        "fc/kernel/Adam": np.ones((2, 3), "f4"),
        "bn/mean": np.array([0.5, np.nan, np.inf], "f4"),
        "names": np.array([b"a", b"bc"], object),
        "_RUN/random": np.arange(4, dtype="u4"),
    }
    roles = {"fc/kernel": "trainable", "fc/kernel/Adam": "slot", "bn/mean": "model"}
    aliases, metadata = {"out/kernel": "fc/kernel"}, {"run": "{}"}
    save_vars(DictSource(arrays, roles=roles, aliases=aliases, metadata=metadata), tmp_path / "m")
    return tmp_path / "m"
