"""Which format a path is, and where formats come from."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from warmstart import formats
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    MissingDependency,
    UnknownFormat,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats.extras import needed
from warmstart.source import DictSource, Source

SOURCE = DictSource({"w": np.arange(3.0)})
EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_format"


class Lines:
    """A format of one's own: a tensor a line."""

    EXTENSIONS = (".lines",)

    def locate(self, path: Path) -> Path | None:
        return path if path.suffix == ".lines" else None

    def open_source(self, path: Path, *, verify: bool) -> Source:
        lines = [line.split() for line in path.read_text().splitlines()]
        return DictSource({name: np.array(values, float) for name, *values in lines})

    def save_source(self, source: Source, path: Path) -> None:
        lines = [f"{name} {' '.join(map(str, source.read(name)))}\n" for name in source.specs]
        path.write_text("".join(lines))


LINES = Lines()


def offer(monkeypatch: pytest.MonkeyPatch, offered: Mapping[str, str]) -> None:
    """Let other packages offer formats: name -> what their entry points name."""
    entries = {n: EntryPoint(n, value, "warmstart.formats") for n, value in offered.items()}
    monkeypatch.setattr(formats, "third_party", lambda: entries)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lines_of_another", SimpleNamespace(format=LINES))
    offer(monkeypatch, {"lines": "lines_of_another:format"})


@pytest.mark.parametrize(
    ("name", "format_", "found"),
    [
        ("m.npz", "npz", "m.npz"),
        ("m.safetensors", "safetensors", "m.safetensors"),
        ("m", "tf-bundle", "m"),
        ("M.NPZ", "npz", "M.NPZ"),
        ("model-1.5", "tf-bundle", "model-1.5"),
    ],
)
def test_the_extension_says_what_is_saved(
    name: str, format_: str, found: str, tmp_path: Path
) -> None:
    formats.save_source(SOURCE, tmp_path / name)
    assert formats.locate(tmp_path / name) == (format_, tmp_path / found)
    with formats.open_source(tmp_path / name) as source:
        assert source.read("w").tolist() == [0, 1, 2]


def test_a_format_that_is_asked_for_wins_over_the_extension(tmp_path: Path) -> None:
    formats.save_source(SOURCE, tmp_path / "m.bin", format="npz")
    assert formats.locate(tmp_path / "m.bin") == ("npz", tmp_path / "m.bin")


def test_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    formats.save_source(SOURCE, "~/m.npz")
    assert formats.locate("~/m.npz") == ("npz", tmp_path / "m.npz")


@pytest.mark.parametrize("use", [formats.locate, lambda path: formats.save_source(SOURCE, path)])
def test_the_home_of_nobody(use: object) -> None:
    with pytest.raises(CheckpointNotFound, match=r"~no-such-user/m\.npz: there is no such us"):
        use("~no-such-user/m.npz")


def test_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=f"nothing is at {tmp_path}/m, nor does a bundle"):
        formats.open_source(tmp_path / "m")


def test_what_lies_beside_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    for name in ("model.ckpt-20", "model.ckpt-30"):
        formats.save_source(SOURCE, tmp_path / name)
    with pytest.raises(CheckpointNotFound, match=r"; near it: model\.ckpt-30, model\.ckpt-20\n"):
        formats.open_source(tmp_path / "model.ckpt")
    with pytest.raises(CheckpointNotFound, match=f"; there is no folder {tmp_path}/runs\n"):
        formats.open_source(tmp_path / "runs" / "m.npz")


def test_a_folder_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match=f"the folder {tmp_path} holds no checkpoint of a kn"):
        formats.open_source(tmp_path)


def test_a_file_of_no_format(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("hello")
    with pytest.raises(UnknownFormat, match=r"m\.txt is none of: tf-bundle, tf-v1, safetensors"):
        formats.open_source(tmp_path / "m.txt")


def test_a_name_that_the_system_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="cannot be read: File name too long") as caught:
        formats.open_source(tmp_path / ("x" * 5000))
    assert "while looking at" in full_text(caught.value)


def test_a_name_with_a_nul(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match="has a NUL in it, as no path can"):
        formats.open_source(tmp_path / "a\0b")


def test_a_file_that_goes_away_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "locate", lambda path: ("npz", path))
    with pytest.raises(CheckpointNotFound, match=r"m\.npz cannot be read: No such file"):
        formats.open_source(tmp_path / "m.npz")


def test_errors_name_the_file_once(tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(b"PK")
    with pytest.raises(CorruptCheckpoint) as caught:
        formats.open_source(tmp_path / "m.npz")
    assert full_text(caught.value).splitlines()[1:] == [f"while reading {tmp_path}/m.npz"]


def test_a_format_by_no_name() -> None:
    with pytest.raises(UnknownFormat, match="no format is called 'np'; known: tf-bundle, tf-v1, s"):
        formats.format_named("np")
    message = (
        r"m cannot be written: no format is called 'np' \(near it: npz\); written are: tf-bundle, s"
    )
    with pytest.raises(UnknownFormat, match=message):
        formats.save_source(SOURCE, "m", format="np")
    assert {"gguf", "onnx", "tf-v1"}.isdisjoint(formats.writable_names())


def test_a_package_that_a_format_is_read_through_is_missing() -> None:
    message = r"reading HDF5 needs no_such_package: pip install 'warmstart\[hdf5\]'"
    with pytest.raises(MissingDependency, match=message):
        needed("no_such_package", "hdf5", "reading HDF5")


def test_an_option_that_a_format_does_not_take(tmp_path: Path) -> None:
    formats.save_source(SOURCE, tmp_path / "m.npz")
    message = "npz takes no option 'dequantize': dequantize is quantised tensors as float32"
    with pytest.raises(UnsupportedCheckpoint, match=message):
        formats.open_source(tmp_path / "m.npz", dequantize=True)
    with pytest.raises(UnsupportedCheckpoint, match="npz takes no option 'like'"):
        formats.save_source(SOURCE, tmp_path / "m.npz", like="other.h5")


def test_a_format_that_is_only_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lone = SimpleNamespace(EXTENSIONS=(".lone",), locate=lambda path: None)
    monkeypatch.setitem(formats.FORMATS, "lone", "lone")
    monkeypatch.setitem(sys.modules, "lone", lone)
    message = r"m\.lone cannot be written: lone is only read; written are: tf-bundle, safetensors"
    for format_ in (None, "lone"):
        with pytest.raises(UnknownFormat, match=message):
            formats.save_source(SOURCE, tmp_path / "m.lone", format=format_)


@pytest.mark.usefixtures("lines")
def test_a_format_of_another_package(tmp_path: Path) -> None:
    assert formats.format_names()[-1] == "lines"
    formats.save_source(SOURCE, tmp_path / "m.lines")
    assert (tmp_path / "m.lines").read_text() == "w 0.0 1.0 2.0\n"
    assert formats.locate(tmp_path / "m.lines") == ("lines", tmp_path / "m.lines")
    with formats.open_source(tmp_path / "m.lines") as source:
        assert source.read("w").tolist() == [0, 1, 2]


@pytest.mark.usefixtures("lines")
def test_files_of_ours_ask_no_other_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LINES, "locate", lambda path: 1 / 0, raising=False)
    formats.save_source(SOURCE, tmp_path / "m.npz")
    assert formats.locate(tmp_path / "m.npz")[0] == "npz"


def test_a_format_of_another_package_that_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, {"odd": "no_such_module:format"})
    message = (
        r"the format 'odd' \(no_such_module:format\) cannot be imported: No module named "
        "'no_such_module'; install what it needs, or uninstall"
    )
    with pytest.raises(MissingDependency, match=message):
        formats.format_named("odd")


def test_a_built_in_format_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("npz", "other:npz", "warmstart.formats")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: offered)
    assert formats.third_party.__wrapped__() == {}


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """Return an environment where the example's package is installed, as pip would do it."""
    info = tmp_path / "site" / "warmstart_json_weights-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: warmstart-json-weights\n")
    (info / "entry_points.txt").write_text("[warmstart.formats]\njson-weights = json_weights\n")
    path = os.pathsep.join([str(tmp_path / "site"), str(EXAMPLE)])
    return {**os.environ, "PYTHONPATH": path}


def test_the_example_is_found_by_its_entry_point(installed: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import numpy as np, warmstart as ws\n"
        "ws.save_vars({'w': np.arange(3.0)}, 'm.tensors.json')\n"
        "ws.convert('m.tensors.json', 'm.npz')\n"
        "print(ws.load_vars('m.npz'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=installed,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{'w': array([0., 1., 2.])}\n", "")


def test_the_example_keeps_the_contract(installed: dict[str, str], tmp_path: Path) -> None:
    command = ["-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider", str(EXAMPLE)]
    done = subprocess.run(
        [sys.executable, *command, f"--basetemp={tmp_path / 'base'}"], env=installed,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", ["json_weights.py", "test_json_weights.py"])
def test_the_page_on_extending_shows_the_example(file: str) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "extending.md").read_text()
    assert f"```python\n{(EXAMPLE / file).read_text()}```\n" in page


def test_the_files_of_a_checkpoint(tmp_path: Path) -> None:
    formats.save_source(SOURCE, tmp_path / "m")
    formats.save_source(SOURCE, tmp_path / "m-2")
    formats.save_source(SOURCE, tmp_path / "m.npz")
    bundle = [tmp_path / "m.data-00000-of-00001", tmp_path / "m.index"]
    assert formats.files_of("tf-bundle", tmp_path / "m") == bundle
    assert formats.files_of("npz", tmp_path / "m.npz") == [tmp_path / "m.npz"]
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "x").touch()
    assert formats.files_of("npz", tmp_path / "folder") == [tmp_path / "folder" / "deep" / "x"]


def test_a_folder_that_does_not_say_which_is_meant_names_them(tmp_path: Path) -> None:
    for name in "fedcba":
        formats.save_source(SOURCE, tmp_path / f"{name}.npz")
    named = ", ".join(f"{tmp_path}/{name}.npz" for name in "abcde")
    with pytest.raises(UnknownFormat) as caught:
        formats.open_source(tmp_path)
    assert str(caught.value) == (
        f"nothing in the folder {tmp_path} says which checkpoint is meant; give its path: "
        f"{named}, ..."
    )
