"""Files read into the system's cache by threads, ahead of somebody who reads them front to back.

    with reading_ahead(files):
        ...                          # pages of a map are there when they are looked at

One reader of a map waits for each piece that the disk brings.  Several pieces asked for at once
keep a disk busy, and what is in the cache already costs no more than a look.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

THREADS = 4
BLOCK = 1 << 20
#: Fewer bytes than this are there before a thread has begun.
WORTH_READING_AHEAD = 32 << 20


@contextmanager
def reading_ahead(files: Sequence[Path]) -> Iterator[None]:
    """Read *files* ahead while the block runs; nothing is promised, and no fault is raised.

    More than half of what the memory holds is left alone: the first would go before it is used.
    """
    sizes = [size_of(path) for path in files]
    if not WORTH_READING_AHEAD <= sum(sizes) <= memory() // 2 or not hasattr(os, "RWF_NOWAIT"):
        yield
        return
    blocks = [(p, at) for p, size in zip(files, sizes, strict=True) for at in range(0, size, BLOCK)]
    stop = Event()
    arguments = [(blocks[first::THREADS], stop) for first in range(THREADS)]
    threads = [Thread(target=read_blocks, args=each, daemon=True) for each in arguments]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def read_blocks(blocks: Sequence[tuple[Path, int]], stop: Event) -> None:
    """Read those of *blocks* (file, offset) that are not in the cache, until told to *stop*."""
    room, opened, descriptor = bytearray(BLOCK), None, -1
    with suppress(OSError):  # whoever needs the file will be told
        for path, begin in blocks:
            if stop.is_set():
                break
            if path != opened:
                descriptor, opened = reopened(path, descriptor), path
            if not is_cached(descriptor, begin):
                os.preadv(descriptor, [room], begin)
    if descriptor >= 0:
        os.close(descriptor)


def reopened(path: Path, descriptor: int) -> int:
    """Return *path* opened, having closed *descriptor* if it is one."""
    if descriptor >= 0:
        os.close(descriptor)
    return os.open(path, os.O_RDONLY)


def is_cached(descriptor: int, begin: int) -> bool:
    """Return whether the byte at *begin* is in the cache, or the file system does not tell."""
    try:
        os.preadv(descriptor, [bytearray(1)], begin, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def size_of(path: Path) -> int:
    """Return the bytes of the file *path*; none if it cannot be told, or is no file."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def memory() -> int:
    """Return how many bytes of memory the machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
