"""The file `checkpoint`: what is written is read, by TensorFlow too; and files that break it."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import CheckpointError, CorruptCheckpoint
from warmstart.formats.tf_bundle import state
from warmstart.formats.tf_bundle.state import (
    State,
    is_state,
    parse_state,
    quoted,
    read_state,
    unquoted,
    write_state,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(NAMES)
def test_texts_round_trip(text: str) -> None:
    assert unquoted(quoted(text)) == text
    assert quoted(text).isascii()


@given(NAMES.filter(bool), st.lists(NAMES, max_size=3))
def test_states_round_trip(latest: str, paths: list[str]) -> None:
    raw = f"model_checkpoint_path: {quoted(latest)}\n" + "".join(
        f"all_model_checkpoint_paths: {quoted(path)}\n" for path in paths
    )
    assert is_state(raw.encode())
    assert parse_state(raw.encode()) == State(latest, tuple(paths))


def test_a_file_as_tensorflow_writes_it(tmp_path: Path) -> None:
    state = pytest.importorskip("tensorflow.python.checkpoint.checkpoint_management")
    paths = [str(tmp_path / name) for name in ("m-1", 'ö"\\\n', "m-3")]
    state.update_checkpoint_state_internal(
        str(tmp_path),
        paths[2],
        paths,
        save_relative_paths=True,
        all_model_checkpoint_timestamps=[1.5, 2.0, 1e9],
        last_preserved_timestamp=0.25,
    )
    expected = State("m-3", ("m-1", 'ö"\\\n', "m-3"), (1.5, 2.0, 1e9), 0.25)
    assert read_state(tmp_path) == expected


def test_tensorflow_reads_what_was_written(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    paths = [tmp_path / "m-1", tmp_path / "ö '\"\\", Path("/elsewhere/m-3")]
    more = {
        "timestamps": [1.5, 2, 1e9],
        "last_preserved": 0.25,
        "note": '{"values": {"\\u00f6": 1}}',
    }
    write_state(tmp_path, paths[1], paths, **more)
    found = tf.train.get_checkpoint_state(str(tmp_path))
    assert found.model_checkpoint_path == str(paths[1])
    assert list(found.all_model_checkpoint_paths) == list(map(str, paths))
    assert list(found.all_model_checkpoint_timestamps) == [1.5, 2, 1e9]
    assert found.last_preserved_timestamp == 0.25


def test_a_note_is_found_again_and_no_text_is_taken_for_one(tmp_path: Path) -> None:
    write_state(tmp_path, "a\n# warmstart: b", note='{"c": 1}')
    assert read_state(tmp_path) == State("a\n# warmstart: b", note='{"c": 1}')
    write_state(tmp_path, "a\n# warmstart: b")
    assert read_state(tmp_path) == State("a\n# warmstart: b")


def test_paths_inside_the_folder_are_relative(tmp_path: Path) -> None:
    write_state(tmp_path, tmp_path / "m-2", [tmp_path / "sub" / "m-1", "m-2", "/other/m"])
    assert read_state(tmp_path) == State("m-2", ("sub/m-1", "m-2", "/other/m"))


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("runs")
    write_state(Path("runs"), tmp_path / "runs" / "m-2")
    assert read_state(Path("runs")) == State("m-2")


def test_no_file(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(CheckpointError, match="checkpoint cannot be read: Is a directory"):
        read_state(tmp_path)


def test_comments_single_quotes_and_parts() -> None:
    raw = b"""# of old\nmodel_checkpoint_path : 'm' "-1" ; all_model_checkpoint_paths:"x", # y\n"""
    assert is_state(raw)
    assert parse_state(raw) == State("m-1", ("x",))


def test_a_line_of_hashes_is_no_state() -> None:
    assert not is_state(b"# " * 2000 + b"!")  # must not try every way to cut it into comments


def test_escapes() -> None:
    raw = rb'model_checkpoint_path: "\101\x42\u0043\U00000044\n\t\\\"\'\?\303\251"'
    assert parse_state(raw).latest == "ABCD\n\t\\\"'?é"


def test_fields_of_later_versions_are_passed_over() -> None:
    assert parse_state(b'model_checkpoint_path: "m" later: 7 other: "x"').latest == "m"


PATH = b'model_checkpoint_path: "m"\n'


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xfe", "is not text"),
        (b"", "names no latest checkpoint"),
        (b'model_checkpoint_path: ""', "names no latest checkpoint"),
        (b'all_model_checkpoint_paths: "m"', "names no latest checkpoint"),
        (b"model_checkpoint_path: 7", "has '7' where a path is expected"),
        (PATH + b'all_model_checkpoint_paths "m"', r"has 'all_model_ch.*' at character 27, where"),
        (b'model_checkpoint_path: "m', "at character 0, where a line like"),
        (b'model_checkpoint_path: "\\q"', r"has the unknown escape b'\\\\q'"),
        (b'model_checkpoint_path: "\\U00110000"', "of no character"),
        (b'model_checkpoint_path: "\\ud800"', "of no character"),
        (b'model_checkpoint_path: "\\377"', r"the path b'\\xff' in the file .* is not UTF-8"),
        (PATH + b"last_preserved_timestamp: x", "has 'x' where a time in seconds is expected"),
        (PATH * 700_000, "has more than 16777216 bytes"),
    ],
)
def test_files_that_break_the_rules(raw: bytes, message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        parse_state(raw)


@pytest.mark.parametrize("raw", [b"", b"\0\1", b"text", b"model_checkpoint_path", b"other: 1"])
def test_other_files(raw: bytes) -> None:
    assert not is_state(raw)


@given(st.integers(0, 200), st.integers(0, 255))
def test_any_changed_byte_is_read_or_refused(at: int, byte: int) -> None:
    raw = bytearray(PATH + b'all_model_checkpoint_paths: "a\\n"\nlast_preserved_timestamp: 1.5 #x')
    raw[at % len(raw)] = byte
    assert outcome(bytes(raw)) in (State, CorruptCheckpoint)


def outcome(raw: bytes) -> type:
    """Return the type of what is read, or of the error."""
    try:
        return type(parse_state(raw))
    except CheckpointError as error:
        return type(error)


def test_a_link_to_such_a_file_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    pointer = tmp_path / "checkpoint"
    pointer.symlink_to("elsewhere")
    for latest in ("model-1", "model-2"):  # there is nothing at first
        write_state(tmp_path, latest)
        assert pointer.is_symlink()
        assert read_state(tmp_path) == State(latest)


def test_a_link_to_another_file_is_replaced_and_the_file_stays(tmp_path: Path) -> None:
    index, pointer = tmp_path / "model-1.index", tmp_path / "checkpoint"
    index.write_bytes(b"a table")
    pointer.symlink_to(index.name)
    write_state(tmp_path, "model-2")
    assert (index.read_bytes(), pointer.is_symlink()) == (b"a table", False)
    assert read_state(tmp_path) == State("model-2")


def test_a_link_to_what_cannot_be_read_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "elsewhere").write_bytes(b"?")
    (tmp_path / "checkpoint").symlink_to("elsewhere")
    monkeypatch.setattr(state, "opened", refuse)
    write_state(tmp_path, "model-2")
    assert (tmp_path / "checkpoint").is_symlink()
