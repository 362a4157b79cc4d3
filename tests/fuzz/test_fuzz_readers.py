"""Every reader against damaged files: only CheckpointError, little memory, an end, nothing run.

These are few inputs, the same in every run; `make fuzz` tries as many as there is time for.
"""

import os
from pathlib import Path

import harness
import mutations
import pytest
import seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from warmstart import formats
from warmstart.binary import snappy
from warmstart.binary.table import Table
from warmstart.binary.wire import fields
from warmstart.errors import CheckpointError
from warmstart.formats import notes
from warmstart.formats.tf_bundle.state import parse_state

EXAMPLES = {"in a child": 3, "here": 80}

#: Formats of C libraries, which a child process reads, and the others.
CHILDREN = sorted(name for name in formats.FORMATS if harness.in_child(name))
HERE = sorted(formats.FORMATS.keys() - set(CHILDREN))

edits = st.lists(
    st.builds(
        mutations.Edit,
        st.integers(0, 63),
        st.integers(0, len(mutations.KINDS) - 1),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    ),
    min_size=1,
    max_size=5,
)
fixed = settings(
    derandomize=True, database=None, suppress_health_check=list(HealthCheck), deadline=None
)


def attempt(format: str, number: int, changes: list[mutations.Edit], folder: Path) -> None:
    """Read a damaged seed of *format*; a Finding fails the test."""
    seed = seeds.seeds_of(format)[number % len(seeds.seeds_of(format))]
    seeds.put(mutations.edited(seed.files, changes), folder / "x")
    harness.tried(folder / "x" / seed.path, format, verify=number % 2 == 0)


@pytest.mark.parametrize("format", HERE)
def test_damaged_files(format: str, tmp_path: Path) -> None:
    @settings(fixed, max_examples=EXAMPLES["here"])
    @given(st.integers(0, 63), edits)
    def inputs(number: int, changes: list[mutations.Edit]) -> None:
        attempt(format, number, changes, tmp_path)

    inputs()


@pytest.mark.parametrize("format", CHILDREN)
def test_damaged_files_of_a_c_library(format: str, tmp_path: Path) -> None:
    @settings(fixed, max_examples=EXAMPLES["in a child"])
    @given(st.integers(0, 63), edits)
    def inputs(number: int, changes: list[mutations.Edit]) -> None:
        attempt(format, number, changes, tmp_path)

    inputs()


@pytest.mark.parametrize("format", HERE)
def test_the_seeds_are_read(format: str, tmp_path: Path) -> None:
    for seed in seeds.seeds_of(format):
        seeds.put(seed.files, tmp_path / "x")
        with formats.open_as(format, tmp_path / "x" / seed.path) as source:
            assert source.specs or source.metadata  # states of schedules have no tensors


# --- parts that other readers stand on --------------------------------------------------------

PARTS = {
    "snappy": (snappy.decompressed, b"\x0c\x2chello hello\x15\x06"),
    "wire": (lambda raw: list(fields(raw)), b"\x08\x96\x01\x12\x07testing\x1d\0\0\x80\x3f"),
    "notes": (notes.decode, b'{"warmstart": 1, "roles": {"slot": ["a"]}, "aliases": {"b": "a"}}'),
    "state": (parse_state, b'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n'),
    "table": (
        lambda raw: list(Table(memoryview(raw), verify=False).keys()),
        mutations.write_table([(b"", b"1"), (b"key", b"value" * 9), (b"keys", b"")]),
    ),
}


@pytest.mark.parametrize("part", PARTS)
@settings(fixed, max_examples=300)
@given(changes=edits)
def test_damaged_parts(part: str, changes: list[mutations.Edit]) -> None:
    read, whole = PARTS[part]
    raw = mutations.edited({"": whole}, changes)[""]
    try:
        with harness.bounded(5):
            read(raw)
    except CheckpointError:
        return


# --- the harness finds what it is there for ---------------------------------------------------


def misbehaving(monkeypatch: pytest.MonkeyPatch, act: object) -> None:
    """Let the reader of .npz files do *act* first."""
    open_source = formats.format_named("npz").open_source

    def bad(path: Path, **options: object) -> object:
        act(path)  # type: ignore[operator]
        return open_source(path, **options)

    monkeypatch.setattr(formats.format_named("npz"), "open_source", bad)


def spin(path: Path) -> None:
    while True:
        pass


def recurse(path: Path) -> None:
    recurse(path)


FAULTS = {
    "KeyError escaped": lambda path: {}["key"],
    "os.system": lambda path: os.system("true"),
    "opened .*hosts": lambda path: open("/etc/hosts").close(),
    "to write": lambda path: open(path.with_name("new"), "w").close(),
    "bytes of memory for files of": lambda path: bytearray(200_000_000),
    "took longer than": spin,
    "exec": lambda path: exec("1"),
    "RecursionError escaped": recurse,
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_found(message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "PATIENCE", 1)
    misbehaving(monkeypatch, FAULTS[message])
    seed = seeds.seeds_of("npz")[0]
    seeds.put(seed.files, tmp_path / "x")
    with pytest.raises(harness.Finding, match=message):
        harness.tried(tmp_path / "x" / seed.path, "npz")


def test_a_sound_file_is_no_finding(tmp_path: Path) -> None:
    seed = seeds.seeds_of("npz")[0]
    seeds.put(seed.files, tmp_path / "x")
    assert harness.tried(tmp_path / "x" / seed.path) == "read"
