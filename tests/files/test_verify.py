"""Whether a checkpoint is sound."""

import json
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from warmstart import formats
from warmstart.errors import CheckpointNotFound, CorruptCheckpoint, UnknownFormat
from warmstart.files.variables import save_vars
from warmstart.files.verify import Finding, verify
from warmstart.source import DictSource

SOUND = {"w": np.arange(6, dtype="f4"), "v": np.arange(3)}


@pytest.mark.parametrize(
    ("name", "checked"),
    [("m", "every tensor"), ("m.npz", "every member"), ("m.safetensors", "has no checksums")],
)
def test_sound(name: str, checked: str, tmp_path: Path) -> None:
    save_vars(SOUND, tmp_path / name)
    found = verify(tmp_path / name)
    assert (found.sound, found.tensors, found.nbytes, found.notes) == (True, 2, 48, ())
    assert checked in str(found)


@pytest.mark.parametrize("name", ["m.data-00000-of-00001", "m.npz"])
def test_a_flipped_byte_in_the_values(name: str, tmp_path: Path) -> None:
    save_vars(SOUND, tmp_path / "m")
    save_vars(SOUND, tmp_path / "m.npz")
    data = bytearray((tmp_path / name).read_bytes())
    data[data.index(np.arange(6, dtype="f4").tobytes()) + 5] ^= 1
    (tmp_path / name).write_bytes(data)
    found = verify(tmp_path / name)
    assert [fault.name for fault in found.faults] == ["w"]
    assert not found.sound
    assert "UNSOUND, 1 fault" in str(found)


def test_a_broken_structure(tmp_path: Path) -> None:
    save_vars(SOUND, tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(data[:-1])
    found = verify(tmp_path / "m.safetensors")
    assert (found.sound, found.tensors, found.faults[0].name) == (False, 0, "")


def test_odd_values_are_notes(tmp_path: Path) -> None:
    odd = {
        "a": np.array([1, np.nan, np.inf], "f4"),
        "b": np.zeros(4),
        "c": np.full(3, 2.5),
        "d": np.array(["same", "same"], "S"),
    }
    save_vars(odd, tmp_path / "m")
    found = verify(tmp_path / "m")
    assert found.sound
    assert list(map(str, found.notes)) == [
        "a: 1 NaN and 1 Inf of 3 values", "b: all zero", "c: all 2.5",
    ]  # fmt: skip


def test_run_state_is_checked_without_notes(trained: Path) -> None:
    data = trained.with_name("trained.data-00000-of-00001")
    raw = bytearray(data.read_bytes())
    raw[raw.index(np.arange(4, dtype="u4").tobytes())] ^= 1
    data.write_bytes(raw)
    found = verify(trained)
    assert [fault.name for fault in found.faults] == ["_RUN/random"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="nothing is at"):
        verify(tmp_path / "gone")


def test_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("minutes of a meeting")
    with pytest.raises(UnknownFormat, match="is none of"):
        verify(tmp_path / "notes.txt")


def test_it_goes_into_json(trained: Path) -> None:
    value = json.loads(json.dumps(verify(trained).to_dict()))
    assert (value["sound"], value["format"]) == (True, "tf-bundle")
    assert {"name": "bn/mean", "what": "all zero"} in value["notes"]


def test_a_finding_about_the_whole() -> None:
    assert str(Finding("", "the header is cut off")) == "the header is cut off"


def test_bytes_that_nothing_accounts_for_are_a_note(tmp_path: Path) -> None:
    save_vars(SOUND, tmp_path / "m.npz")
    with zipfile.ZipFile(tmp_path / "m.npz", "a") as archive:
        archive.comment = b"made by hand"
    (note,) = verify(tmp_path / "m.npz").notes
    assert str(note).startswith("nothing accounts for bytes ")
    assert note.what.endswith("which begin b'made by hand' (the comment of the archive)")


def test_every_fault_is_told(tmp_path: Path) -> None:
    save_vars(SOUND, tmp_path / "m.npz")
    data = (tmp_path / "m.npz").read_bytes()
    for array in SOUND.values():
        data = data.replace(array.tobytes(), bytes(reversed(array.tobytes())))
    (tmp_path / "m.npz").write_bytes(data)
    assert sorted(fault.name for fault in verify(tmp_path / "m.npz").faults) == ["v", "w"]


class Torn(DictSource):
    """A source with faults of the whole, as a third party's format may have them."""

    def faults(self) -> list[str]:
        return ["the index has two ends"]

    def check(self, names: Iterable[str]) -> None:
        raise CorruptCheckpoint("they overlap")


def test_faults_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lone = SimpleNamespace(
        EXTENSIONS=(".lone",), locate=lambda path: path, open_source=lambda path, verify: Torn({})
    )
    monkeypatch.setitem(sys.modules, "lone", lone)
    monkeypatch.setattr(formats, "FORMATS", {"lone": "lone"})
    found = verify(tmp_path / "m.lone")
    assert list(map(str, found.faults)) == ["the index has two ends", "they overlap"]
    assert (found.checked, found.notes) == ("what 'lone' checks when it reads", ())


def test_a_missing_shard_is_a_fault(tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-00001-of-00001.safetensors"}}))
    (fault,) = verify(index).faults
    assert "1 of 1 shards are missing: 'm-00001-of-00001.safetensors'" in str(fault)


def test_a_file_that_may_not_be_read_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_vars({"w": np.zeros(3)}, tmp_path / "m.npz")

    def refused(*_: object, **__: object) -> None:
        raise CheckpointNotFound("it cannot be read") from PermissionError()

    monkeypatch.setattr("warmstart.files.verify.open_as", refused)
    with pytest.raises(CheckpointNotFound, match="it cannot be read"):
        verify(tmp_path / "m.npz")


def test_tensors_that_are_odd_alike_are_one_line(tmp_path: Path) -> None:
    arrays = {f"block{i}/{leaf}": np.zeros(3) for i in range(12) for leaf in ("b", "beta")}
    others = {f"{chr(97 + i)}{i}/{'x' * i}y": np.ones(2) for i in range(12)}
    save_vars(arrays | others, tmp_path / "m.npz")
    found = verify(tmp_path / "m.npz")
    lines = str(found).splitlines()
    assert "note   block{0..11}/{b,beta}: all zero" in lines
    assert "note   ... and 2 more groups of names: all 1" in lines
    assert len(lines) == 14
    assert len(found.to_dict()["notes"]) == 36
