"""Untrusted files in a child process: formats that crash, hang, eat memory and lie."""

import gc
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from warmstart import formats
from warmstart.errors import (
    CheckpointNotFound,
    CorruptCheckpoint,
    NoSuchTensor,
    UnsupportedCheckpoint,
    full_text,
)
from warmstart.formats.child import frames, limits
from warmstart.formats.child import source as parent
from warmstart.source import Source
from warmstart.testing.reading import same

#: A format around a "C library" that does what the file says.
FORMAT = '''
import ctypes, json, os, signal, socket, sys, time
from pathlib import Path
import numpy as np
from warmstart import CheckpointNotFound, DictSource
from warmstart.spec import TensorSpec

EXTENSIONS = (".odd",)
OPTIONS = frozenset({"like"})
C_LIBRARY = "liboddity"

def locate(path):
    return path if path.is_file() and path.name.endswith(EXTENSIONS) else None

def open_source(path, *, verify, like=None):
    what = path.read_text()
    if what.startswith("open:"):
        misbehave(what[5:])
    arrays = {
        "x": np.arange(24.0).reshape(2, 3, 4),
        "big": np.zeros((300, 1000), np.float32) + 1,
        "words": np.array([b"a", b"", b"three"], object),
    }
    if what == "where":
        names = [os.getcwd(), *os.listdir("."), *sorted(os.environ)]
        arrays["words"] = np.array([str(n).encode() for n in names], object)
    return Odd(arrays, what, metadata={"like": str(like), "verify": str(verify)},
               roles={"x": "slot"}, aliases={"other": "x"})

def misbehave(what):
    if what == "crash":
        ctypes.string_at(0)
    elif what == "abort":
        os.kill(os.getpid(), signal.SIGABRT)
    elif what == "hang":
        time.sleep(1000)
    elif what == "spin":
        while True: pass
    elif what == "eat":
        hoard = []
        while True: hoard.append(bytearray(1 << 26))
    elif what == "exit":
        os._exit(3)
    elif what == "missing":
        error = CheckpointNotFound("half is missing")
        error.add_note("the other half")
        raise error
    elif what == "bug":
        [][1]
    elif what == "write":
        Path("made").write_text("x" * 100)
    elif what == "many files":
        [open(os.devnull) for _ in range(1000)]

class Odd(DictSource):
    def __init__(self, arrays, what, **said):
        super().__init__(arrays, **said)
        self.what = what

    @property
    def specs(self):
        specs = dict(super().specs)
        if self.what == "lie:petabyte":
            specs["x"] = TensorSpec("x", "float64", (2**47,))
        elif self.what == "lie:longer":
            specs["x"] = TensorSpec("x", "float64", (25,))
        elif self.what == "lie:dtype":
            specs["x"] = TensorSpec("x", "float65", (24,))
        elif self.what == "lie:shape":
            specs["x"] = TensorSpec("x", "float64", (-1,))
        elif self.what == "lie:huge":
            specs["x"] = TensorSpec("x", "float64", (2**62, 2**62))
        elif self.what == "lie:role":
            specs["x"] = TensorSpec("x", "float64", (24,), "king")
        elif self.what == "lie:twice":
            specs["y"] = specs["x"]
        return specs

    @property
    def metadata(self):
        return {"a": 1} if self.what == "lie:metadata" else super().metadata

    @property
    def aliases(self):
        return {"a": "none"} if self.what == "lie:alias" else super().aliases

    def read_order(self):
        return iter(["x"]) if self.what == "lie:order" else super().read_order()

    def read(self, name):
        if self.what.startswith("read:"):
            misbehave(self.what[5:])
        if self.what == "lie:json":
            wire(b"\\3\\0\\0\\0{{{")
        elif self.what == "lie:list":
            wire(b"\\2\\0\\0\\0[]")
        elif self.what == "lie:message":
            wire(b"\\xff\\xff\\xff\\xff")
        elif self.what == "lie:strings":
            wire(b'\\x0c\\0\\0\\0{"nbytes":9}123456789')
        elif self.what == "lie:lengths":
            wire(b'\\x0d\\0\\0\\0{"nbytes":25}' + b"\\xff" * 25)
        elif self.what == "lie:bytes":
            raw = b'{"nbytes":%d}' % 2**60
            wire(len(raw).to_bytes(4, "little") + raw)
        return super().read(name)

    def check(self, names):
        if self.what == "lie:check":
            raise CheckpointNotFound("half is missing")

    def unclaimed(self):
        return ["bytes 0 to 3"]

def wire(raw):
    """Say something out of turn, as code that took the process over could."""
    socket.socket(fileno=int(sys.argv[1])).sendall(raw)
    time.sleep(1000)
'''


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the format as a module that a child finds too."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "odd_format.py").write_text(FORMAT)
    sys.path.insert(0, str(folder))
    import odd_format

    yield odd_format
    sys.path.remove(str(folder))
    del sys.modules["odd_format"]


@pytest.fixture
def opened(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that opens a file which says what its reader is to do."""
    monkeypatch.setitem(formats.FORMATS, "odd", "odd_format")
    sources: list[Source] = []

    def open_(what: str = "", **options: Any) -> Source:
        (tmp_path / "m.odd").write_text(what)
        sources.append(formats.open_source(tmp_path / "m.odd", untrusted=True, **options))
        return sources[-1]

    yield open_
    for source in sources:
        source.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child be silent for a second, and work for one."""
    few = limits.Limits(memory=2 << 30, seconds=2, patience=1.5)
    monkeypatch.setattr(parent, "limits_for", lambda nbytes: few)


def test_everything_is_as_in_this_process(opened: Any) -> None:
    source = opened(verify=False, like=Path("some/file"))
    here = formats.format_named("odd").open_source(
        Path(source._place.removeprefix("while reading ")),
        verify=False,
        like=str(Path("some/file").absolute()),
    )
    assert dict(source.specs) == here.specs
    assert (source.metadata, source.aliases) == (here.metadata, here.aliases)
    assert list(source.read_order()) == list(here.read_order())
    assert (source.stored, source.unclaimed()) == ({}, ["bytes 0 to 3"])
    source.check(source.specs)
    for name in [*source.specs, "other"]:
        np.testing.assert_array_equal(source.read(name), here.read(name), strict=True)
    assert source.read_all().keys() == source.specs.keys()


GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", ["keras/legacy3.h5", "keras/sequential.keras", "orbax/v053"])
def test_files_of_real_libraries(name: str) -> None:
    with (
        formats.open_source(GOLDEN / name) as here,
        formats.open_source(GOLDEN / name, untrusted=True) as there,
    ):
        assert type(there) is parent.ChildSource
        assert dict(there.specs) == dict(here.specs)
        assert dict(there.metadata) == dict(here.metadata)
        assert dict(there.aliases) == dict(here.aliases)
        assert same(there.read_all(), here.read_all())


@pytest.mark.parametrize("name", ["keras/sharded.weights.json", "orbax/v053"])
def test_a_child_may_use_what_all_files_of_a_checkpoint_take(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    limits_for = parent.limits_for
    monkeypatch.setattr(parent, "limits_for", lambda n: told.append(n) or limits_for(n))
    kind, path = formats.locate(GOLDEN / name)
    with formats.open_source(path, untrusted=True):
        pass
    files = formats.files_of(kind, path)
    assert len(files) > 1
    assert told == [sum(file.stat().st_size for file in files)]


INDICES = [1, (..., 0), (slice(None, None, -2), 1), (None, 1), [1, 0], np.array([True, False])]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_a_slice_is_that_part(index: Any, opened: Any) -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(opened().read_slice("x", index), x[index], strict=True)


def test_a_wrong_index_is_the_callers_fault(opened: Any) -> None:
    source = opened()
    with pytest.raises(IndexError, match="out of bounds"):
        source.read_slice("x", 7)
    assert source.read_slice("x", (1, 2, 3)) == 23


def test_strings_in_parts(opened: Any) -> None:
    assert opened().read_slice("words", slice(1, None)).tolist() == [b"", b"three"]


def test_a_name_that_is_not_there(opened: Any) -> None:
    with pytest.raises(NoSuchTensor, match="there is no tensor 'y' among the 3"):
        opened().read("y")


def test_other_formats_are_read_here(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(2))
    with formats.open_source(tmp_path / "x.npy", untrusted=True) as source:
        assert "child" not in type(source).__module__


def test_a_format_that_no_other_process_can_import(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="in a child process: it is no module that"):
        parent.open_in_child(SimpleNamespace(), tmp_path, [], verify=True, options={})


# --- what befalls a child ---------------------------------------------------------------------

CRASHES = {
    "crash": "the process that read it by liboddity crashed: Segmentation fault",
    "abort": "the process that read it by liboddity crashed: Aborted",
    "exit": "the process that read it by liboddity ended with code 3",
    "eat": "liboddity could not read it in its process: MemoryError",
    "bug": "liboddity could not read it in its process: IndexError: list index out of range",
    "many files": "liboddity could not read it in its process: OSError: .Errno 24. Too many open",
    "write": "liboddity could not read it in its process: OSError: .Errno 27. File too large",
}


@pytest.mark.parametrize("when", ["open", "read"])
@pytest.mark.parametrize("what", CRASHES)
def test_what_would_have_taken_this_process_along(what: str, when: str, opened: Any) -> None:
    with pytest.raises(CorruptCheckpoint, match=CRASHES[what]) as caught:
        opened(f"{when}:{what}").read("x")
    assert "while reading " in full_text(caught.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("when", ["open", "read"])
def test_a_child_that_hangs(when: str, opened: Any) -> None:
    with pytest.raises(CorruptCheckpoint, match="hung: it said nothing for 2 seconds"):
        opened(f"{when}:hang").read("x")


def test_a_child_that_works_without_end(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    few = limits.Limits(memory=2 << 30, seconds=1)
    monkeypatch.setattr(parent, "limits_for", lambda nbytes: few)
    with pytest.raises(CorruptCheckpoint, match="took more than 1 s of processor time"):
        opened("read:spin").read("x")


def test_a_crash_is_told_at_every_read_after_it(opened: Any) -> None:
    source = opened("read:crash")
    for _ in range(2):
        with pytest.raises(CorruptCheckpoint, match="crashed: Segmentation fault"):
            source.read("x")
    assert source.specs["x"].shape == (2, 3, 4)


def test_errors_keep_their_kind_and_their_notes(opened: Any) -> None:
    with pytest.raises(CheckpointNotFound, match="half is missing") as caught:
        opened("open:missing")
    assert "the other half" in caught.value.__notes__
    with pytest.raises(CheckpointNotFound, match="half is missing"):
        opened("lie:check").check(["x"])


def test_memory_can_run_out_more_than_once(opened: Any) -> None:
    source = opened("read:eat")
    for name in ("x", "words"):
        with pytest.raises(CorruptCheckpoint, match="MemoryError"):
            source.read(name)


# --- what a child may say ---------------------------------------------------------------------

LIES = {
    "petabyte": "sent 192 bytes where 1125899906842624 belong",
    "longer": "sent 192 bytes where 200 belong",
    "dtype": "tells of no tensor: .'x', 'float65', .24., None",
    "shape": "shape .-1,. has a negative dimension",
    "huge": "float64 .* would take",
    "role": "tells of no tensor: .'x', 'float64', .24., 'king'",
    "twice": "tells of no tensor: .'x'",
    "metadata": "tells of no metadata",
    "alias": "names tensors that it did not tell of",
    "order": "names tensors that it did not tell of",
    "json": "sent nonsense: a message is not JSON",
    "list": "sent nonsense: a message is no JSON object with its bytes",
    "message": "sent nonsense: a message claims 4294967295 bytes; 16777",
    "bytes": "sent 1152921504606846976 bytes where 192 belong",
}


@pytest.mark.parametrize("what", LIES)
def test_a_lie_is_found_out(what: str, opened: Any) -> None:
    with pytest.raises(CorruptCheckpoint, match=LIES[what]):
        opened(f"lie:{what}").read("x")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("bytes", "sent 1152921504606846976 bytes where no more belong"),
        ("strings", "'words' has no 3 strings in 9 bytes"),
        ("lengths", r"'words' has strings of \d+ bytes, not so many"),
    ],
)
def test_a_lie_about_strings(what: str, message: str, opened: Any) -> None:
    with pytest.raises(CorruptCheckpoint, match=message):
        opened(f"lie:{what}").read("words")


# --- where a child lives ----------------------------------------------------------------------


def test_a_child_has_an_empty_folder_and_no_environment(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    source = opened("where")
    folder, *names = (item.decode() for item in source.read("words"))
    assert "warmstart-" in folder
    assert set(names) - {"LC_CTYPE"} == set(parent.environment())
    source.close()
    assert not Path(folder).exists()


def test_a_closed_source_has_no_child(opened: Any) -> None:
    source = opened()
    process = source._child._process
    source.close()
    source.close()
    assert process.poll() is not None
    with pytest.raises(CorruptCheckpoint, match="the source is closed"):
        source.read("x")


def opened_in_child(module: Any, path: Path) -> Source:
    return parent.open_in_child(module, path, [path], verify=True, options={})


def test_a_forgotten_source_has_no_child(module: Any, tmp_path: Path) -> None:
    (tmp_path / "m.odd").write_text("")
    source: Any = opened_in_child(module, tmp_path / "m.odd")
    process = source._child._process
    del source
    gc.collect()
    assert process.poll() is not None


def test_a_child_ends_with_its_parent(module: Any, tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "m.odd").write_text("read:spin")
    code = (
        f"import os, sys, threading; sys.path.insert(0, {str(Path(module.__file__).parent)!r})\n"
        "import odd_format; from pathlib import Path\n"
        "from warmstart.formats.child import open_in_child\n"
        f"path = Path({str(tmp_path / 'm.odd')!r})\n"
        "s = open_in_child(odd_format, path, [path], verify=True, options={})\n"
        "print(s._child._process.pid, flush=True)\n"
        "threading.Thread(target=s.read, args=['x'], daemon=True).start()\n"
        "import time; time.sleep(1); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert gone(int(done.stdout))


def gone(pid: int) -> bool:
    """Return whether no process *pid* runs any more, after a moment."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_child_that_has_no_parent_from_the_start() -> None:
    end, other = os.pipe()
    os.close(other)
    ours, theirs = socket.socketpair()
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "warmstart.formats.child", str(theirs.fileno()), str(end)],
        pass_fds=(theirs.fileno(), end), check=False,
    )  # fmt: skip
    os.close(end)
    ours.close()
    theirs.close()
    assert done.returncode == 1


def test_an_index_only_an_array_can_say() -> None:
    assert frames.encoded_index(np.array([1])) is None
    assert frames.encoded_index(True) is None


def test_more_bytes_may_take_more_memory_and_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    (tmp_path / "b").write_bytes(bytes(24))
    assert limits.size_of([tmp_path / "a", tmp_path / "b"]) == 1024
    assert limits.size_of([tmp_path / "a"]) == 1000
    small, large = limits.limits_for(1000), limits.limits_for(1 << 30)
    assert large.memory - small.memory > 1 << 30
    assert large.seconds > small.seconds
