"""URLs where paths of checkpoints are taken, and the local folders that stand for them.

    path = local_path("s3://bucket/run")     # looks what is there; `mirror` has the rest
    ...
    send_up(path)                            # does nothing where *path* stands for no URL

It is asked for every path, nearly all of which are local: what is remote is imported on need.
"""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError
from .remote import is_below_tree

#: local folder -> its URL.
URLS: dict[Path, str] = {}

#: Within `looking_once`, what was looked at: URL -> local path.
_looked: dict[str, Path] | None = None


def local_path(url: str) -> Path:
    """Return the local path that stands for *url*, with what is there and beside it now."""
    from .mirror import look

    with by_url():
        if _looked is None:
            return look(url)
        if url not in _looked:
            _looked[url] = look(url)
        return _looked[url]


@contextmanager
def looking_once() -> Iterator[None]:
    """Look at each URL once in the block, which is one piece of work however often it asks."""
    global _looked  # noqa: PLW0603  (what a function was called with is not passed on by all)
    outer, _looked = _looked, {} if _looked is None else _looked
    try:
        yield
    finally:
        _looked = outer


def send_up(folder: Path) -> None:
    """Make the remote folder that *folder* stands for, if it stands for one, as this one is."""
    if is_below_tree(folder):
        from .mirror import push

        push(folder)


@contextmanager
def one_save_at_a_time(path: Path) -> Iterator[None]:
    """Let no other thread change or send up a remote folder in the block, if *path* is in one.

    A folder goes up as it is: half of another save must not be in it, nor a file that is replaced
    by one that comes later be missing.
    """
    if not is_below_tree(path):
        yield
        return
    from .mirror import TURN

    with TURN:
        yield


def url_of(path: Path) -> str | None:
    """Return the URL that *path*, below a folder that was looked at, stands for; else None."""
    if not is_below_tree(path):
        return None
    path = Path(os.path.abspath(path))
    for folder in (path, *path.parents):
        if folder in URLS:
            inside = path.relative_to(folder).as_posix()
            return posixpath.join(URLS[folder], "" if inside == "." else inside).rstrip("/")
    return None


def shown(path: Path) -> str:
    """Return *path* as people are shown it: as its URL, if it stands for one."""
    return url_of(path) or str(path)


@contextmanager
def by_url() -> Iterator[None]:
    """Let errors of the block name URLs, not the local folders that stand for them."""
    try:
        yield
    except CheckpointError as error:
        if URLS:
            error.args = tuple(urls_in(arg) if isinstance(arg, str) else arg for arg in error.args)
            error.__notes__ = [urls_in(note) for note in getattr(error, "__notes__", ())]
        raise


def urls_in(text: str) -> str:
    """Return *text* with the URLs of the folders that were looked at in place of the local ones."""
    for folder in sorted(URLS, key=lambda each: len(each.parts), reverse=True):
        text = text.replace(str(folder), URLS[folder])
    return text
