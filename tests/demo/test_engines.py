"""The demo says what it lacks before it begins."""

from pathlib import Path

import pytest

from warmstart import CheckpointNotFound, MissingDependency
from warmstart.demo import engines


@pytest.mark.parametrize("name", engines.ENGINES)
def test_every_script_of_the_story_is_there(name: str) -> None:
    folder = engines.examples(name)
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(
        engines.ENGINES[name].scripts
    )


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(
        ValueError, match="no engine is called 'caffe'; known: torch, tf, keras, jax"
    ):
        engines.engine_named("caffe")


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "installed", lambda package: False)
    message = r"needs tensorflow and sklearn: pip install 'warmstart\[tf,demo\]'"
    with pytest.raises(MissingDependency, match=message):
        engines.engine_named("tf")


def test_lost_scripts_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engines, "__file__", str(tmp_path / "a/b/c/engines.py"))
    with pytest.raises(CheckpointNotFound, match="the example scripts are neither in"):
        engines.examples("torch")
