"""Writing bundles: where the tensors lie, what cannot be held, and saving over another."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.binary.stream import Stream
from warmstart.errors import CannotHold, CheckpointError, SaveError
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle import commit
from warmstart.formats.tf_bundle.held import keys_of
from warmstart.formats.tf_bundle.ledger import MANY, Kind
from warmstart.formats.tf_bundle.protos import encode_entry
from warmstart.formats.tf_bundle.reader import BundleSource
from warmstart.source import DictSource, Source
from warmstart.spec import TensorSpec


def save(tensors: Mapping[str, Any] | Source, folder: Path) -> BundleSource:
    """Save *tensors* as the bundle m in *folder*, and open it."""
    source = tensors if isinstance(tensors, Source) else DictSource(tensors)
    tf_bundle.save_source(source, folder / "m")
    return BundleSource(folder / "m", verify=True)


def entries_of(source: BundleSource) -> dict[str, Any]:
    """Return the entries of *source* by name."""
    names, messages = source._index.messages()
    return dict(zip(names, map(source._index.decoded, messages), strict=True))


def test_every_tensor_begins_at_a_multiple_of_64(tmp_path: Path) -> None:
    arrays = {f"w{i}": np.zeros(i, np.int8) for i in range(1, 140)}
    arrays |= {f"x{i}": np.zeros(3, np.int8) for i in range(100)}
    entries = entries_of(save(arrays, tmp_path))
    assert {entry.offset % 64 for entry in entries.values()} == {0}
    last = max(entry.offset + entry.size for entry in entries.values())
    assert (tmp_path / "m.data-00000-of-00001").stat().st_size == last


def test_entries_made_together_are_those_made_one_by_one(tmp_path: Path) -> None:
    kind = Kind("float32", (5,))
    with (tmp_path / "file").open("wb", buffering=0) as file:
        stream = Stream(file)
        arrays = [np.full(5, i, np.float32) for i in range(5000)]
        for begin in range(0, 5000, kind.batch):
            rows = range(begin, min(begin + kind.batch, 5000))
            kind.write([b"%d" % row for row in rows], [arrays[row] for row in rows], stream)
        stream.flush()
    source = save({f"{i:04}": array for i, array in enumerate(arrays)}, tmp_path)
    expected = {b"%d" % int(n): encode_entry(e) for n, e in entries_of(source).items()}
    assert kind.encoded(0) == expected
    assert len(arrays) > MANY


def test_tied_tensors_are_two_keys_at_one_place(tmp_path: Path) -> None:
    source = save(DictSource({"w": np.ones(3)}, aliases={"tied": "w"}), tmp_path)
    entries = entries_of(source)
    assert entries["tied"] == entries["w"]


def test_names_are_written_without_output(tmp_path: Path) -> None:
    source = DictSource(
        {"w:0": np.ones(1), "b": np.ones(1), "b:0": np.zeros(1), ":0": np.ones(1)},
        roles={"w:0": "trainable"},
        aliases={"tied:0": "w:0"},
    )
    found = save(source, tmp_path)
    assert list(found.specs) == [":0", "b", "b:0", "w"]
    assert found.specs["w"].role == "trainable"
    assert dict(found.aliases) == {"tied": "w"}


def test_keys_stay_apart() -> None:
    names = ["w", "w:0", "w:0:0", "x:0:0", "y:1"]
    keys = keys_of(names)
    assert len(set(keys.values())) == len(names)
    assert keys == {"w": "w", "w:0": "w:0", "w:0:0": "w:0:0", "x:0:0": "x:0", "y:1": "y:1"}


def test_nothing_to_say_leaves_no_note(tmp_path: Path) -> None:
    assert list(entries_of(save({"w": np.ones(1)}, tmp_path))) == ["w"]


UNHELD: dict[str, tuple[Any, str]] = {
    "": (np.ones(1), "an empty name is that of the header"),
    "\0x": (np.ones(1), "begins with a zero byte, as only pieces of tensors do"),
    "_RUN/state": (np.ones(1), "is the name of this library's own note"),
    "\ud800": (np.ones(1), "is not Unicode text"),
    "objects": (np.array([b"fine", 1, None], object), "holds NoneType, int where bytes or text"),
}


def test_what_a_bundle_cannot_hold_is_named_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(CannotHold) as caught:
        save({"fine": np.ones(1), **{name: array for name, (array, _) in UNHELD.items()}}, tmp_path)
    text = str(caught.value)
    assert "a TensorFlow bundle cannot hold 5 of these:" in text
    assert all(f"{name!r}" in text and fault in text for name, (_, fault) in UNHELD.items())
    assert os.listdir(tmp_path) == []


class Claiming(DictSource):
    """A source whose specs are not those of its arrays."""

    def __init__(self, spec: TensorSpec, array: Any) -> None:
        super().__init__({spec.name: array})
        self._specs = {spec.name: spec}


def test_an_unknown_dtype_and_too_many_dimensions(tmp_path: Path) -> None:
    for spec, message in (
        (TensorSpec("x", "float8_e8m0fnu", (1,)), "TensorFlow has no such dtype"),
        (TensorSpec("x", "float32", (1,) * 255), "255 dimensions, where 254 can be"),
    ):
        with pytest.raises(CannotHold, match=message):
            save(Claiming(spec, np.ones(1)), tmp_path)


def test_an_alias_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match="'b'  is not another name of 'c'"):
        save(DictSource({"a": np.ones(1)}, aliases={"b": "c"}), tmp_path)


def test_values_that_are_not_as_the_specs_say(tmp_path: Path) -> None:
    with pytest.raises(
        SaveError, match=r"'x' was to be float32 \(2,\), but the values are float64"
    ):
        save(Claiming(TensorSpec("x", "float32", (2,)), np.ones(3)), tmp_path)
    assert os.listdir(tmp_path) == []


def test_text_and_bytes_are_strings(tmp_path: Path) -> None:
    arrays = {
        "u": np.array(["é", ""]),
        "s": np.array([b"a\0b"]),
        "o": np.array(["ü", b"\xff"], object),
    }
    found = save(arrays, tmp_path).read_all()
    assert {n: a.tolist() for n, a in found.items()} == {
        "u": ["é".encode(), b""],
        "s": [b"a\0b"],
        "o": ["ü".encode(), b"\xff"],
    }


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_saving_over_another_takes_another_count(tmp_path: Path) -> None:
    found = []
    for value in range(3):
        save({"w": np.full(2, value)}, tmp_path)
        found.append(names(tmp_path)[0])
    assert found == [f"m.data-00000-of-0000{n}" for n in (1, 2, 1)]
    assert len(names(tmp_path)) == 2


def test_what_killed_saves_left_is_passed_by_and_removed(tmp_path: Path) -> None:
    save({"w": np.ones(2)}, tmp_path)
    for left in ("m.data-00000-of-00002", "m.data-00001-of-00004"):
        (tmp_path / left).write_bytes(b"left")
    other = tmp_path / "m2.data-00000-of-00002"
    other.write_bytes(b"of another bundle")
    save({"w": np.zeros(2)}, tmp_path)
    assert names(tmp_path) == ["m.data-00000-of-00003", "m.index", other.name]


def test_the_old_data_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, *, missing_ok: bool) -> None:
        raise PermissionError(13, "Permission denied")

    save({"w": np.ones(2)}, tmp_path)
    monkeypatch.setattr(Path, "unlink", refuse)
    save({"w": np.zeros(2)}, tmp_path)
    assert "of-00001 is not needed any more but was not removed: Permission denied" in caplog.text
    with formats.open_source(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), np.zeros(2))


def test_a_shard_that_another_checkpoint_shares_is_not_touched(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save({"w": np.ones(2)}, other)
    data, index = "m.data-00000-of-00001", "m.index"
    os.link(other / index, tmp_path / index)
    (tmp_path / data).symlink_to(other / data)
    save({"w": np.zeros(2)}, tmp_path)
    with BundleSource(other / "m", verify=True) as source:
        np.testing.assert_array_equal(source.read("w"), np.ones(2))


def test_new_data_are_kept_once_the_index_is_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    syncs = iter([os.fsync, os.fsync, os.fsync, fail])

    def sync(descriptor: int) -> None:
        next(syncs)(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(CheckpointError, match="was written, but its folder could not be synced"):
        save({"w": np.ones(2)}, tmp_path)
    with formats.open_source(tmp_path / "m") as source:
        np.testing.assert_array_equal(source.read("w"), np.ones(2))


def test_an_identity_changes_when_a_file_is_replaced(tmp_path: Path) -> None:
    assert commit.identity(tmp_path / "absent") is None
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    before = commit.identity(tmp_path / "a")
    os.replace(tmp_path / "b", tmp_path / "a")
    assert commit.identity(tmp_path / "a") not in (None, before)
