"""Files that are known and not read or written: what they are, and what to do instead."""

from pathlib import Path

from ..binary.window import opened

GRAPH = (
    "is the graph of a TensorFlow checkpoint, and not its values; these may be at {}. "
    "The graph itself is shown by ls --graph"
)

#: How a pointer of Git LFS begins (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
LFS = b"version https://git-lfs.github.com/spec/"

#: What is found in place of a file that was not fetched: how it begins, and what it is.
INSTEAD = {
    LFS: "is the pointer that Git LFS leaves in place of a file: git lfs pull fetches the file",
    b"<!doctype html": "is a web page and no checkpoint: see what address it was fetched from",
    b"<html": "is a web page and no checkpoint: see what address it was fetched from",
}

#: How a file begins that some program compressed as a whole, and what unpacks it.
PACKED = {
    b"\x1f\x8b": "gzip: gunzip",
    b"\x28\xb5\x2f\xfd": "zstd: unzstd",
    b"BZh": "bzip2: bunzip2",
}


def what_it_is(path: Path) -> str | None:
    """Return what to say of the file *path*, None when it is not known either."""
    if path.suffix == ".meta":
        return f"{path} {GRAPH.format(path.with_suffix(''))}"
    return packed(path) or instead_of_a_file(path)


def packed(path: Path) -> str | None:
    """Return what to say of the file *path* if it was compressed as a whole."""
    with opened(path) as file:
        begin = file.read(4)
    found = next((words for start, words in PACKED.items() if begin.startswith(start)), None)
    return f"{path} is compressed by {found} unpacks it" if found else None


def instead_of_a_file(path: Path) -> str | None:
    """Return what stands at *path* where a checkpoint was to be fetched, None if it may be one."""
    with opened(path) as file:
        begin = file.read(len(LFS)).lstrip().lower()
    found = next((words for start, words in INSTEAD.items() if begin.startswith(start)), None)
    return f"{path} {found}" if found else None if begin else f"{path} is empty"
