"""The options of reading through every function that takes them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import warmstart as ws
from warmstart import formats
from warmstart.errors import UnsupportedCheckpoint
from warmstart.files.options import divided, reader, writer
from warmstart.source import DictSource

ARRAYS = {"w": np.ones(3, "f4")}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Return what a format is asked for that takes everything, whose file is `m.lone`."""
    calls: list[dict[str, Any]] = []

    def open_source(path: Path, **options: Any) -> ws.Source:
        calls.append({"read": path.name, **options})
        return DictSource(ARRAYS)

    def save_source(source: ws.Source, path: Path, **options: Any) -> None:
        calls.append({"write": path.name, **options})

    lone = SimpleNamespace(
        EXTENSIONS=(".lone",),
        OPTIONS=frozenset({"mmap", "like", "dequantize"}),
        SAVE_OPTIONS=frozenset({"like"}),
        locate=lambda path: path if path.name.endswith(".lone") and path.exists() else None,
        open_source=open_source,
        save_source=save_source,
    )
    monkeypatch.setitem(sys.modules, "lone", lone)
    monkeypatch.setitem(formats.FORMATS, "lone", "lone")
    (tmp_path / "m.lone").write_bytes(b"lone")
    ws.save_vars(ARRAYS, tmp_path / "m.npz")
    return calls


@pytest.mark.parametrize(
    "call",
    [
        lambda folder, **options: ws.open(folder / "m.lone", **options).close(),
        lambda folder, **options: ws.load_vars(folder / "m.lone", **options),
        lambda folder, **options: ws.verify(folder / "m.lone", **options),
        lambda folder, **options: ws.diff(folder / "m.lone", folder / "m.npz", **options),
        lambda folder, **options: ws.diff(folder / "m.npz", folder / "m.lone", **options),
        lambda folder, **options: ws.convert(folder / "m.lone", folder / "n.npz", **options),
        lambda folder, **options: ws.dump(folder / "m.lone", folder / "n.npz", **options),
    ],
    ids=["open", "load_vars", "verify", "diff-a", "diff-b", "convert", "dump"],
)
def test_every_function_passes_them_on(
    call: Callable[..., object], asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    options = {"mmap": False, "like": "other.npz", "dequantize": True}
    call(tmp_path, untrusted=True, **options)
    assert asked == [{"read": "m.lone", "verify": True, **options}]


def test_what_is_not_asked_for_is_not_passed(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    ws.convert(tmp_path / "m.lone", tmp_path / "n.npz", mmap=True, like=None, dequantize=False)
    assert asked == [{"read": "m.lone", "verify": True}]


def test_like_is_for_both_sides_of_a_conversion(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    ws.convert(tmp_path / "m.lone", tmp_path / "n.lone", like="other")
    ws.convert(tmp_path / "m.npz", tmp_path / "n.lone", like="other")
    ws.save_vars(ARRAYS, tmp_path / "n.lone", like="other")
    assert asked == [
        {"read": "m.lone", "verify": True, "like": "other"},
        *[{"write": "n.lone", "like": "other"}] * 3,
    ]


def test_an_option_that_no_side_takes(tmp_path: Path) -> None:
    ws.save_vars(ARRAYS, tmp_path / "m.npz")
    message = "npz and safetensors take no option 'like': like is a checkpoint to borrow names"
    with pytest.raises(UnsupportedCheckpoint, match=message):
        ws.convert(tmp_path / "m.npz", tmp_path / "m.safetensors", like="other.h5")
    with pytest.raises(UnsupportedCheckpoint, match=r"^npz takes no option 'dequantize': "):
        ws.diff(tmp_path / "m.npz", tmp_path / "m.npz", dequantize=True)


def test_an_option_that_there_is_not(tmp_path: Path) -> None:
    ws.save_vars(ARRAYS, tmp_path / "m.npz")
    message = "no option is called nmap; the options: mmap, like, dequantize, untrusted"
    with pytest.raises(TypeError, match=message):
        ws.convert(tmp_path / "m.npz", tmp_path / "m", nmap=False)
    with pytest.raises(TypeError, match=message):
        ws.load_vars(tmp_path / "m.npz", nmap=False)


def test_what_is_open_takes_none() -> None:
    assert divided({"mmap": False}, reader(ARRAYS), writer("npz")) == [{"mmap": False}, {}]
    assert ws.diff(ARRAYS, ARRAYS, mmap=False).same
    with pytest.raises(UnsupportedCheckpoint, match="dict and npz take no option 'like'"):
        ws.convert(ARRAYS, "m.npz", like="other.h5")
