"""A remote folder as a local one, whose files are placeholders until they are read.

    path = look("s3://bucket/run")     # what is there now, as names and sizes
    ...                                # read, write, link and delete below path as in any folder
    push(path)                         # the same at the URL: what is new goes up, what is gone goes

What commits a checkpoint (an index, then the file `checkpoint`) goes up after what it commits,
and nothing is deleted before.  A file goes up as a whole or not at all, as object stores have it.
"""

import os
import posixpath
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from threading import RLock
from typing import Any
from urllib.parse import quote

from ..errors import CheckpointError, SaveError
from .atomic import TEMPORARY
from .remote import (
    HOLES,
    LOCAL,
    PLACEHOLDER,
    Hole,
    file_system,
    hole_at,
    place,
    put_placeholder,
    retried,
    tag_of,
    tree,
)
from .urls import URLS, url_of

#: The ends of names of files that commit others, in the order in which they go up.
COMMITS = (
    (".index", ".metadata", "_METADATA", "_CHECKPOINT_METADATA", "manifest.ocdbt", ".index.json",
     ".weights.json"),
    ("checkpoint",),
)  # fmt: skip

#: local path -> what stands at its URL, as far as is known.
KNOWN: dict[Path, Hole] = {}
#: A run may save beside the training and in it: one of them saves, looks or sends at a time.
TURN = RLock()


def look(url: str) -> Path:
    """Return the local path that stands for *url*, with what is there and beside it now."""
    if url.startswith(LOCAL):
        return Path(file_system(url)[1])
    with TURN:
        try:
            return looked_at(url.rstrip("/"), *file_system(url))
        except ValueError as error:  # a URL that names no bucket, for one
            raise CheckpointError(f"{url}: looking there failed: {error}") from error


def looked_at(url: str, fs: Any, path: str) -> Path:
    """Do what `look` does, in the file system *fs*, where *url* is *path*."""
    fs.invalidate_cache()
    if retried(url, "looking there", lambda: fs.isdir(path)):
        local = local_of(url)
        below = retried(url, "listing it", lambda: fs.find(path, detail=True))
        refresh(local, fs, path, below, deep=True)
        URLS[local] = url
        return local
    name = posixpath.basename(url)
    above = url.removesuffix(name)
    above = above if above.endswith("://") else above.rstrip("/")
    folder = local_of(above)
    found = beside(fs, path, above)
    drop_absent(folder, {posixpath.basename(name) for name in found})
    refresh(folder, fs, fs._parent(path), found, deep=False)
    URLS[folder] = above
    return folder / name


def beside(fs: Any, path: str, url: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what is in the folder of *path*, by paths; nothing where there is no folder."""
    try:
        found = retried(url, "listing it", lambda: fs.ls(fs._parent(path), detail=True))
    except FileNotFoundError:
        return {}
    return {info["name"].rstrip("/"): info for info in found}


def local_of(url: str) -> Path:
    """Return the local folder that stands for the remote folder *url*, made if need be."""
    scheme, _, rest = url.partition("://")
    parts = [quote(part, safe=" @:+,=()[]{}") for part in PurePosixPath(rest).parts if part != "/"]
    local = tree().joinpath(scheme.replace(":", "-"), *parts)
    local.mkdir(parents=True, exist_ok=True)
    return local


def refresh(
    folder: Path, fs: Any, path: str, found: Mapping[str, Mapping[str, Any]], *, deep: bool
) -> None:
    """Let the placeholders in *folder* be those of *found*, what is in the remote folder *path*.

    That is all below it where *deep*, else what is in the folder itself.
    """
    there = {}
    for name, info in found.items():
        inside = name.removeprefix(path).lstrip("/")
        if info["type"] == "file" and inside and ".." not in PurePosixPath(inside).parts:
            there[folder / inside] = info
    for file in below(folder):
        if file not in there and (deep or file.parent == folder):
            if hole_at(file) is KNOWN[file]:
                file.unlink()
            forget(file)
    for file, info in there.items():
        known = KNOWN.get(file)
        if known is None or known.tag != tag_of(info) or hole_at(file) is not known:
            KNOWN[file] = put_placeholder(file, fs, info, fs.unstrip_protocol(info["name"]))


def drop_absent(folder: Path, names: Collection[str]) -> None:
    """Remove what is known below folders in *folder* that are none of *names* any more."""
    tops = {folder / file.relative_to(folder).parts[0] for file in below(folder)}
    for top in tops:
        if top.is_dir() and top.name not in names:
            shutil.rmtree(top)
            for file in below(top):
                forget(file)


def below(folder: Path) -> list[Path]:
    """Return the paths below *folder* at whose URLs something is known to stand."""
    return [file for file in KNOWN if file.is_relative_to(folder)]


def forget(file: Path) -> None:
    """Know nothing any more of what stands at the URL of *file*."""
    HOLES.pop(KNOWN.pop(file).stamp, None)


def push(folder: Path) -> None:
    """Make the remote folder that *folder* stands for as this one is; other folders are let be.

    Raise SaveError, with the checkpoints that were there still there, when that fails.
    """
    url = url_of(folder)
    if url is None:
        return
    folder = Path(os.path.abspath(folder))
    with TURN:
        try:
            send(folder, url, *file_system(url))
        except (CheckpointError, OSError) as error:
            take_back(folder)
            raise SaveError(f"{url} was not brought up to date: {error}") from error


def send(folder: Path, url: str, fs: Any, path: str) -> None:
    """Do what `push` does, in the file system *fs*, where *url* is *path*."""
    for file in in_turn(changed(folder)):
        upload(file, fs, f"{path}/{file.relative_to(folder).as_posix()}", url)
    for file in [file for file in below(folder) if not file.exists()]:
        retried(url, f"deleting {file.name}", partial(remove, fs, KNOWN[file].path))
        forget(file)


def take_back(folder: Path) -> None:
    """Make *folder* again what stands at its URL, as far as is known."""
    for file in list(changed(folder)):
        file.unlink()
    for file in below(folder):
        if not file.exists():
            place(file, KNOWN[file])


def remove(fs: Any, path: str) -> None:
    """Delete a remote file; one that is gone already is as it should be."""
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return


def changed(folder: Path) -> Iterator[Path]:
    """Yield the files below *folder* that are not what stands at their URLs."""
    from .lock import NAME as LOCK  # and `socket`, which nobody needs who only reads

    for above, _, names in os.walk(folder):
        for file in (Path(above, name) for name in names):
            ours = file.name.endswith((TEMPORARY, PLACEHOLDER)) or file.name == LOCK
            if not ours and (file not in KNOWN or hole_at(file) is not KNOWN[file]):
                yield file


def in_turn(files: Iterable[Path]) -> list[Path]:
    """Return *files* in the order in which they may become visible."""

    def turn(file: Path) -> tuple[int, str]:
        for number, ends in reversed(list(enumerate(COMMITS, 1))):
            if file.name.endswith(ends):
                return number, str(file)
        return 0, str(file)

    return sorted(files, key=turn)


def upload(file: Path, fs: Any, path: str, url: str) -> None:
    """Let the remote *path* have the bytes of *file*, of which a placeholder stays behind."""
    source = hole_at(file)
    if source is not None:  # a link to what is remote already: the store copies it by itself
        retried(url, f"copying to {file.name}", lambda: fs.cp_file(source.path, path))
        size = source.size
    else:
        size = file.stat().st_size
        retried(url, f"uploading {file.name}", lambda: fs.put_file(str(file), path))
    fs.invalidate_cache()
    info = retried(url, f"looking at {file.name}", lambda: fs.info(path))
    if info["size"] != size:
        raise SaveError(f"{file.name} has {info['size']} bytes there; {size} were written")
    if file in KNOWN:
        forget(file)
    KNOWN[file] = put_placeholder(file, fs, info, fs.unstrip_protocol(info["name"]))
