from pathlib import Path

import pytest

from warmstart.train import logger


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logger, "_folder", None)


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A folder with a file in it."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "file").touch()
    return tmp_path / "log"


def test_the_environment_counts_in_place_of_what_the_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger, "_folder", None)
    monkeypatch.setenv("WARMSTART_LOGGER_DIR", str(tmp_path / "asked"))
    assert logger.set_logger_dir(tmp_path / "said") == tmp_path / "asked"
    assert logger.get_logger_dir() == tmp_path / "asked"
    assert not (tmp_path / "said").exists()


def test_no_folder_until_one_is_set(tmp_path: Path) -> None:
    assert logger.get_logger_dir() is None
    logger.set_logger_dir(tmp_path / "a" / "b")
    assert logger.get_logger_dir() == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_the_folder_stays_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    logger.set_logger_dir("log")
    monkeypatch.chdir("/")
    assert logger.folder_for(None) == tmp_path / "log"


@pytest.mark.parametrize(
    ("action", "folder", "there"),
    [
        (None, "log", ["log", "log/file"]),
        ("k", "log", ["log", "log/file"]),
        ("b", "log", ["log", "log.1", "log.1/file"]),
        ("d", "log", ["log"]),
        ("n", "log-1", ["log", "log-1", "log/file"]),
    ],
)
def test_what_becomes_of_a_used_folder(
    used: Path, action: str | None, folder: str, there: list[str]
) -> None:
    assert logger.set_logger_dir(used, action).name == folder
    found = sorted(path.relative_to(used.parent).as_posix() for path in used.parent.rglob("*"))
    assert found == there


def test_a_used_folder_may_be_refused(used: Path) -> None:
    with pytest.raises(FileExistsError, match=r"log has files in it; pass action=None"):
        logger.set_logger_dir(used, "q")


def test_an_unknown_action_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no action is called 'x'; known: k"):
        logger.set_logger_dir(tmp_path, "x")


def test_a_folder_named_after_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["examples/mnist.py"])
    assert logger.auto_set_dir() == tmp_path / "train_log" / "mnist"
    assert logger.auto_set_dir(name="big") == tmp_path / "train_log" / "mnist:big"


def test_writing_without_a_folder_says_how_to_set_one() -> None:
    with pytest.raises(ValueError, match=r"call ws\.logger\.set_logger_dir\(FOLDER\) before"):
        logger.folder_for(None)


def test_a_folder_of_ones_own_needs_no_other(tmp_path: Path) -> None:
    assert logger.folder_for(tmp_path / "own").is_dir()
