"""Files at a URL, of which only the bytes that are looked at are fetched.

A remote folder is a local one of placeholders (`mirror`): sparse files of the right names and
sizes.  What one stands for is told by its time of modification, which nothing else has:

    hole = hole_at(path)              # None: an ordinary file
    hole.fetch(begin, end)            # those bytes are in the file hole.content now
    fetched(path)                     # a file with all of its bytes

Everything goes through fsspec, which knows `s3://`, `gs://` and many others.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import CheckpointError, CorruptCheckpoint, MissingDependency

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory  # 10 ms, needed only when something is remote

T = TypeVar("T")

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+(::.+)?://")
LOCAL = "file://"

#: Bytes are fetched in whole blocks of this many.
BLOCK = 1 << 16
#: Seconds to wait before what failed is tried again.
DELAYS = (0.1, 0.4, 1.6)
#: What is no fault of the network, and would be the same the next time.
FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
#: What the clients of stores raise who have no keys: botocore, google.auth, azure.
NO_KEYS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "ClientAuthenticationError",
}

_stamps = count(1)


def is_url(path: "str | os.PathLike[str]") -> bool:
    """Return whether *path* is written as a URL.

    >>> is_url("s3://bucket/run"), is_url("C:/run"), is_url("model:0")
    (True, False, False)
    """
    return isinstance(path, str) and URL.match(path) is not None


#: The package that fsspec asks, by the scheme of a URL.
CLIENTS = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "hf": "huggingface_hub",
}


def file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system of *url*, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
    except ImportError as error:
        client = CLIENTS.get(url.partition("://")[0], "")
        raise MissingDependency(
            f"{url}: reading and writing there needs fsspec{client and f' and {client}'} "
            f"({error}): pip install 'warmstart[remote]'{client and f' {client}'}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{url}: {error}") from error
    return fs, path.rstrip("/")


def retried(url: str, what: str, do: Callable[[], T]) -> T:
    """Return what *do* returns; try again a few times when the network is at fault."""
    for delay in (*DELAYS, None):
        try:
            return do()
        except FINAL:
            raise
        except Exception as error:  # every client library has its own
            if isinstance(error, CheckpointError) or is_mistake(error):
                raise
            if type(error).__name__ in NO_KEYS:
                raise CheckpointError(
                    f"{url}: {what} failed for want of keys: {type(error).__name__}: {error}"
                ) from error
            if delay is None:
                raise CheckpointError(
                    f"{url}: {what} failed {len(DELAYS) + 1} times, at last with "
                    f"{type(error).__name__}: {error}"
                ) from error
            time.sleep(delay)
    raise AssertionError


def is_mistake(error: Exception) -> bool:
    """Return whether *error* is one of Python's own that no network causes."""
    return type(error).__module__ == "builtins" and not isinstance(error, OSError)


@dataclass(slots=True)
class Hole:
    """A remote file, and a local one that has those of its bytes that were fetched."""

    fs: Any
    path: str
    url: str
    size: int
    tag: str
    stamp: int
    _content: Path | None = None
    _there: bytearray = field(default_factory=bytearray)
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def content(self) -> Path:
        """The local file; bytes that were not fetched are zero in it."""
        with self._lock:
            if self._content is None:
                made = tree() / CONTENTS / f"{self.stamp}" / Path(self.path).name
                made.parent.mkdir(parents=True)
                with made.open("xb") as file:
                    file.truncate(self.size)
                self._there = bytearray(-(-self.size // BLOCK))
                self._content = made
            return self._content

    def fetch(self, begin: int, end: int) -> None:
        """Have the bytes from *begin* to *end* in `content`."""
        content = self.content
        last = -(-min(end, self.size) // BLOCK)
        at = begin // BLOCK
        while (at := self._there.find(0, at, last)) >= 0:
            stop = self._there.find(1, at, last)
            stop = last if stop < 0 else stop
            self._fetch_blocks(content, at, stop)
            at = stop

    def _fetch_blocks(self, content: Path, first: int, stop: int) -> None:
        begin, end = first * BLOCK, min(stop * BLOCK, self.size)
        data = retried(
            self.url,
            f"reading bytes {begin} to {end}",
            lambda: self.fs.cat_file(self.path, start=begin, end=end),
        )
        if len(data) != end - begin:
            raise CorruptCheckpoint(
                f"{self.url} gave {len(data)} bytes from {begin} on, where {end - begin} were "
                "asked for: it was changed while it was read"
            )
        descriptor = os.open(content, os.O_WRONLY)
        try:
            at, view = begin, memoryview(data)
            while view:
                written = os.pwrite(descriptor, view, at)
                at, view = at + written, view[written:]
        finally:
            os.close(descriptor)
        self._there[first:stop] = b"\1" * (stop - first)


#: stamp -> the remote file that a placeholder of that time stands for.
HOLES: dict[int, Hole] = {}

#: How the name of a placeholder ends before it is put in its place.
PLACEHOLDER = ".placeholder"
#: Where in the tree the fetched bytes are.
CONTENTS = ".contents"

_tree: "TemporaryDirectory[str] | None" = None


def tree() -> Path:
    """Return the folder of all placeholders and fetched bytes; it goes when the process ends."""
    global _tree  # noqa: PLW0603  (one a process)
    if _tree is None:
        from tempfile import TemporaryDirectory, gettempdir

        _tree = TemporaryDirectory(prefix="warmstart-remote-", dir=os.path.realpath(gettempdir()))
    return Path(_tree.name)


def is_below_tree(path: Path) -> bool:
    """Return whether *path* is in the folder of placeholders."""
    return _tree is not None and Path(os.path.abspath(path)).is_relative_to(_tree.name)


def hole_at(path: "str | os.PathLike[str]") -> Hole | None:
    """Return what the placeholder at *path* stands for; None where there is an ordinary file."""
    if not HOLES:
        return None
    try:
        return HOLES.get(os.stat(path).st_mtime_ns)
    except OSError:
        return None


def fetched(path: Path) -> Path:
    """Return a file that has all the bytes of *path*: itself unless it is a placeholder."""
    hole = hole_at(path)
    if hole is None:
        return path
    hole.fetch(0, hole.size)
    return hole.content


def fetched_folder(folder: Path) -> Path:
    """Return a folder with all the bytes of *folder*: itself unless placeholders may be in it."""
    if not is_below_tree(folder):
        return folder
    copy = tree() / CONTENTS / f"{next(_stamps)}-folder" / folder.name
    for file in (file for file in folder.rglob("*") if file.is_file()):
        link = copy / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(fetched(file))
    return copy


def put_placeholder(path: Path, fs: Any, info: Mapping[str, Any], url: str) -> Hole:
    """Let *path* stand for the remote file *url*, of which fsspec says *info*."""
    seconds = int(modified(info))
    # nanoseconds that no clock gives by chance: the next of a process's own numbers
    stamp = seconds * 10**9 + next(_stamps) % 10**9
    while stamp in HOLES:
        stamp = seconds * 10**9 + next(_stamps) % 10**9
    hole = Hole(fs, info["name"], url, int(info["size"] or 0), tag_of(info), stamp)
    HOLES[stamp] = hole
    place(path, hole)
    return hole


def place(path: Path, hole: Hole) -> None:
    """Put the placeholder of *hole* at *path*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}{PLACEHOLDER}")
    with beside.open("xb") as file:
        file.truncate(hole.size)
        file.flush()
        os.utime(file.fileno(), ns=(hole.stamp, hole.stamp))
    beside.replace(path)


def modified(info: Mapping[str, Any]) -> float:
    """Return the seconds at which a remote file was modified, 0 where it does not say."""
    from datetime import datetime  # a listing of local files does without

    for key in ("LastModified", "mtime", "last_modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def tag_of(info: Mapping[str, Any]) -> str:
    """Return what is another for another content of the same remote path."""
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("ino")
    return f"{tag} {info.get('size')} {modified(info)}"
