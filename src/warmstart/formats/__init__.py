"""The kinds of file, and which of them a path is.

A format is a module (or any object) that satisfies `Format`.  Built-in ones stand in one table and
are imported on first use; others come from the entry point group "warmstart.formats", whose entries
name such a module:

    [project.entry-points."warmstart.formats"]
    my-format = "my_package.my_format"
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CheckpointNotFound, MissingDependency, UnknownFormat, noting
from ..names import near
from ..source import Source
from . import foreign

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint  # 20 ms, needed only once all built-ins refuse


class Format(Protocol):
    """What one kind of file owes.

    Opening asks `locate` of one format after another and takes the first that answers; saving
    takes the format whose extension the path has.  A format refuses to know what a tensor is for:
    it keeps the roles that a source states, where it has a place for them, and decides none.
    """

    #: What a path ends in when this format is meant, with the dot; the first is the usual one.
    EXTENSIONS: tuple[str, ...]

    def locate(self, path: Path) -> Path | None:
        """Return the path to open when what stands at *path* is of this format, else None.

        Cheap: it looks at names and at most a few bytes.  Half a checkpoint (an index without
        data) raises CheckpointNotFound that names the missing half.
        """

    def open_source(self, path: Path, *, verify: bool) -> Source:
        """Open what `locate` returned; with *verify* a tensor's checksum is checked when read."""

    def save_source(self, source: Source, path: Path) -> None:
        """Write *source* to *path*: atomic, durable, one tensor in memory at a time.

        Raise CannotHold, before anything is written, naming every tensor that would change.
        """


#: name -> (module, package it needs or None), in the order detection tries them.  Bundles come
#: first: in a folder of training its latest checkpoint is meant, not what was exported beside it.
FORMATS: dict[str, tuple[str, str | None]] = {
    "tf-bundle": ("warmstart.formats.tf_bundle", None),
    "safetensors": ("warmstart.formats.safetensors", None),
    "npz": ("warmstart.formats.npz", None),
}

#: What a path without a known extension is saved as.
DEFAULT = "tf-bundle"


def format_named(name: str) -> Any:  # a module or object that satisfies Format
    """Return the format called *name*, importing it if this is its first use."""
    if name in FORMATS:
        module, package = FORMATS[name]
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if package is None or error.name != package:  # our own fault, not a missing extra
                raise
            raise MissingDependency(f"{name!r} needs {package}: pip install {package}") from error
    if name in third_party():
        return loaded(third_party()[name])
    raise UnknownFormat(f"no format is called {name!r}; known: {', '.join(format_names())}")


def loaded(entry: "EntryPoint") -> Any:
    """Return the format that *entry* names, or raise with the reason why it cannot be imported."""
    try:
        return entry.load()
    except ImportError as error:
        raise MissingDependency(
            f"the format {entry.name!r} ({entry.value}) cannot be imported: {error}; "
            "install what it needs, or uninstall the package that offers it"
        ) from error


def format_names() -> list[str]:
    """Return every format's name, built-in ones first, in the order detection tries them."""
    return [*FORMATS, *third_party()]


@cache
def third_party() -> "dict[str, EntryPoint]":
    """Return the formats that other packages offer; none of them is imported."""
    from importlib.metadata import entry_points

    return {e.name: e for e in entry_points(group="warmstart.formats") if e.name not in FORMATS}


def each_format() -> Iterator[tuple[str, Any]]:
    """Yield every format in the order detection tries them; others are asked for only in need."""
    for name in FORMATS:
        yield name, format_named(name)
    for name in third_party():
        yield name, format_named(name)


def locate(path: str | Path) -> tuple[str, Path]:
    """Return the name of the format of what stands at *path*, and the path to open.

    *path* may be written as people type it: with `~`, a bundle's prefix, its index or data file,
    a folder.
    """
    path = expanded(path)
    with noting(f"while looking at {path}"), translating_os_errors(path):
        for name, format_ in each_format():
            found = format_.locate(path)
            if found is not None:
                return name, found
        if path.is_dir():
            raise UnknownFormat(f"the folder {path} holds no checkpoint of a known format")
        if not path.exists():
            raise CheckpointNotFound(
                f"nothing is at {path}, nor does a bundle have this prefix{beside(path)}"
            )
        known = foreign.what_it_is(path)
    raise UnknownFormat(known or f"{path} is none of: {', '.join(format_names())}")


def beside(path: Path) -> str:
    """Return the end of a message: what *path* may have been meant for."""
    from .tf_bundle.paths import names_in, prefix_of

    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = {prefix_of(Path(name)).name for name in names_in(path.parent)}
    found = near(path.name, sorted(names))
    return f"; near it: {', '.join(found)}" if found else ""


def expanded(path: str | Path) -> Path:
    """Return *path* with `~` written out."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CheckpointNotFound(f"{path}: there is no such user, so no home folder") from error


@contextmanager
def translating_os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError in the block (no permission, a name too long) into one that names *path*."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CheckpointNotFound(f"{path} cannot be read: {reason}") from error


def open_source(path: str | Path, *, verify: bool = True) -> Source:
    """Open the checkpoint at *path*, of whatever format it is; see `warmstart.open`."""
    name, found = locate(path)
    with noting(f"while reading {found}"), translating_os_errors(found):
        source: Source = format_named(name).open_source(found, verify=verify)
        return source


def format_to_save(path: str | Path, format: str | None = None) -> str:
    """Return the name of the format that *path* is to be saved in."""
    if format is not None:
        format_named(format)
        return format
    name = Path(path).name.lower()
    for candidate, format_ in each_format():
        if name.endswith(format_.EXTENSIONS):
            return candidate
    if foreign.is_of_another_library(Path(path)):
        raise UnknownFormat(
            f"{path} ends as files do that are not written; known: {', '.join(format_names())}. "
            f"For one of these under that name: format={DEFAULT!r}, or --format {DEFAULT}"
        )
    return DEFAULT


def save_source(source: Source, path: str | Path, *, format: str | None = None) -> None:
    """Write *source* to *path* in *format*, or in the one its extension names."""
    path = expanded(path)
    with noting(f"while saving {path}"), source.reading():
        source.check(source.specs)
        format_named(format_to_save(path, format)).save_source(source, path)
