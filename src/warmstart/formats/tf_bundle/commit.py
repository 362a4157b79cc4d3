"""The files of a bundle on their way: names for new data files, then the one commit.

    shards = free_count(data_files(prefix).values(), needed)
    with removed_unless_committed(prefix, old):         # the data files that are there before
        write_shard(...), share_shard(...)              # see `writer` and below: durable, by anyone
        commit(prefix, shards, entries)                 # the index: its rename commits
    remove(old)

Where a bundle of the same prefix stands already, the new data get another count of shards in their
name (`-of-00002`), so that until the index is replaced nothing of the old bundle is touched, and
from then on nothing of it is needed.  TensorFlow opens only the data files that entries refer to.

A data file that several checkpoints share is never opened for writing: it is another's, too.
"""

import errno
import logging
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from ...binary.atomic import replacing, translating_os_errors, write_fully
from ...binary.table import write_table
from ...binary.window import opened
from .paths import data_files, data_of, index_of
from .protos import Header, encode_header

LOG = logging.getLogger("warmstart")

#: What a file system that has no hard links, or no more of them, or none to there, says.
NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EACCES)

#: Bytes copied at once.
PIECE = 16 << 20


def free_count(taken: Iterable[tuple[int, int]], needed: int = 1) -> int:
    """Return the least count of shards, *needed* or more, of which no data file is there.

    >>> free_count([(0, 1), (0, 3)])
    2
    """
    counts = {shards for _, shards in taken}
    tried = range(needed, needed + len(counts) + 1)
    return next(count for count in tried if count not in counts)


@contextmanager
def removed_unless_committed(prefix: Path, old: Container[Path]) -> Iterator[None]:
    """Remove all data files of *prefix* but the *old* when the block fails before the commit."""
    index = index_of(prefix)
    before = identity(index)
    try:
        yield
    except BaseException:
        if identity(index) == before:
            for path in data_files(prefix):
                if path not in old:
                    with suppress(OSError):
                        path.unlink()
        raise


def identity(path: Path) -> tuple[int, int, int] | None:
    """Return what tells the file at *path* from one that replaced it; None when there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def share_shard(data: Path, prefix: Path, shard: int, shards: int) -> None:
    """Give the data file *data* of another bundle to *prefix* as its *shard* of *shards*.

    By a hard link, which takes no room and outlives the other; where there are none, as a copy.
    The folder is not synced: the data file that is written next sees to that.
    """
    path = data_of(prefix, shard, shards)
    with translating_os_errors(path):
        source = os.path.realpath(data)  # a link to a symbolic link would go with its target
        try:
            os.link(source, path)
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            copy_whole(Path(source), path)


def copy_whole(source: Path, path: Path) -> None:
    """Make *path* a copy of the file *source*, durable."""
    with opened(source) as old, replacing(path, follow_link=False) as new:
        while piece := old.read(PIECE):
            write_fully(new, piece)


def commit(prefix: Path, shards: int, entries: Mapping[bytes, bytes]) -> None:
    """Write the index of the encoded *entries*: from its rename on the bundle *prefix* is theirs.

    All data files that they refer to must be durable before.
    """
    with replacing(index_of(prefix), follow_link=False) as file:
        write_fully(file, encoded_index(entries, shards))


def encoded_index(entries: Mapping[bytes, bytes], shards: int) -> bytes:
    """Return the index of a bundle of *entries* in data files that count as *shards*."""
    header = (b"", encode_header(Header(shards)))
    return write_table(chain([header], sorted(entries.items())))


def remove(paths: Iterable[Path]) -> None:
    """Remove *paths*, data files that no index refers to any more.

    One that cannot be removed does no harm but for its size, and the save has happened: a warning.
    """
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("%s is not needed any more but was not removed: %s", path, error.strerror)
