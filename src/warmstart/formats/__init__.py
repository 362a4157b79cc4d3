"""The kinds of file, and which of them a path is.

A format is a module (or any object) that satisfies `Format`.  Built-in ones stand in one table and
are imported on first use; others come from the entry point group "warmstart.formats", whose entries
name such a module:

    [project.entry-points."warmstart.formats"]
    my-format = "my_package.my_format"
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..binary.remote import fetched, fetched_folder, is_url
from ..binary.urls import by_url, local_path, send_up
from ..binary.window import opened
from ..errors import (
    CheckpointError,
    CheckpointNotFound,
    CorruptCheckpoint,
    MissingDependency,
    UnknownFormat,
    UnsupportedCheckpoint,
    noting,
)
from ..names import near
from ..source import Source
from . import endings, foreign

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
    #: Optional: those of OPTIONS that `open_source` takes beside *verify*, as keywords.
    OPTIONS: frozenset[str]
    #: Optional: those of OPTIONS that `save_source` takes, as keywords.
    SAVE_OPTIONS: frozenset[str]
    #: Optional: what reading all of a file with *verify* checks, as words after "checked".
    CHECKS: str
    #: Optional: True where a checkpoint is a folder, which saving replaces as a whole; it is found
    #: to be of the format when `locate` returns that folder itself.
    FOLDER: bool
    #: Optional: the C library that the bytes of a file go through, if it is not this library's code
    #: that reads them; with *untrusted* such a file is read in a child process (see `child`).
    C_LIBRARY: str

    def locate(self, path: Path) -> Path | None:
        """Return the path to open when what stands at *path* is of this format, else None.

        Cheap: it looks at names and at most a few bytes.  Half a checkpoint (an index without
        data) raises CheckpointNotFound that names the missing half.
        """

    def found_in(self, folder: Path, names: Collection[str]) -> Mapping[Path, Sequence[Path]]:
        """Return each checkpoint in *folder* that has several files there, or is half of one.

        *names* are all that stand in it.  To the path to open belong the paths of its files, which
        are then not looked at alone.  Optional: only listing a folder asks.
        """

    def open_source(self, path: Path, *, verify: bool) -> Source:
        """Open what `locate` returned; with *verify* a tensor's checksum is checked when read."""

    def save_source(self, source: Source, path: Path) -> None:
        """Write *source* to *path*: atomic, durable, one tensor in memory at a time.

        Raise CannotHold, before anything is written, naming every tensor that would change.
        A format without this function is read only.
        """


#: option -> (its value unless asked for, what it asks).
OPTIONS: dict[str, tuple[Any, str]] = {
    "mmap": (True, "False: read the file and do not map it, for file systems that map badly"),
    "like": (None, "a checkpoint to borrow names and structure from"),
    "dequantize": (False, "quantised tensors as float32, not as the bytes of their blocks"),
}

#: name -> module, in the order detection tries them; cheap to import, all of them.  Bundles come
#: first: in a folder of training its latest checkpoint is meant, not what was exported beside it.
FORMATS: dict[str, str] = {
    "tf-bundle": "warmstart.formats.tf_bundle",
    "tf-v1": "warmstart.formats.tf_v1",
    "safetensors": "warmstart.formats.safetensors",
    "npz": "warmstart.formats.npz",
    "torch": "warmstart.formats.torch",
    "dcp": "warmstart.formats.dcp",
    "keras": "warmstart.formats.keras",
    "keras-h5": "warmstart.formats.keras_h5",
    "orbax": "warmstart.formats.orbax",
    "msgpack": "warmstart.formats.msgpack",
    "gguf": "warmstart.formats.gguf",
    "onnx": "warmstart.formats.onnx",
}

#: How files of one format begin and no others do: those formats are tried first, so that the rest
#: need not be imported.
SIGNS: dict[bytes, tuple[str, ...]] = {
    b"\x89HDF\r\n\x1a\n": ("keras", "keras-h5"),
    b"GGUF": ("gguf",),
}

#: What a path without a known extension is saved as.
DEFAULT = "tf-bundle"

#: How many checkpoints of a folder an error names.
MOST_NAMED = 5


def format_named(name: str) -> Any:  # a module or object that satisfies Format
    """Return the format called *name*, importing it if this is its first use."""
    if name in FORMATS:
        return import_module(FORMATS[name])
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


def likely_formats(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield every format, first those that the first bytes of a file at *path* are a sign of."""
    if path.is_file():
        with opened(path) as file:
            start = file.read(max(map(len, SIGNS)))
        for sign, names in SIGNS.items():
            if start.startswith(sign):
                yield from ((name, format_named(name)) for name in names)
    yield from each_format()


def claimed(path: Path, formats: Iterable[tuple[str, Any]]) -> tuple[str, Path] | None:
    """Return the name of the first of *formats* that *path* is of, and the path to open."""
    for name, format_ in formats:
        found = format_.locate(path)
        if found is not None:
            return name, found
    return None


def locate(path: str | Path) -> tuple[str, Path]:
    """Return the name of the format of what stands at *path*, and the path to open.

    *path* may be written as people type it: with `~`, a bundle's prefix, its index or data file,
    a folder.
    """
    path = expanded(path)
    with by_url(), noting(f"while looking at {path}"), translating_os_errors(path):
        if claim := claimed(path, likely_formats(path)):
            return claim
        if path.is_dir():
            raise UnknownFormat(none_meant(path))
        if path.is_symlink() and not path.exists():
            raise CheckpointNotFound(f"{path} is a link to {os.readlink(path)}: nothing is there")
        if not path.exists():
            raise CheckpointNotFound(
                f"nothing is at {path}, nor does a bundle have this prefix{beside(path)}"
            )
        if not path.is_file():  # to open a pipe may take for ever
            raise UnknownFormat(f"{path} is a pipe or a device: copy what it gives to a file first")
        known = foreign.what_it_is(path)
    raise UnknownFormat(known or f"{path} is none of: {', '.join(format_names())}")


def none_meant(folder: Path) -> str:
    """Return why *folder* stands for no checkpoint: it holds none, or does not say which."""
    found = [str(folder / name) for name in islice(checkpoints_in(folder), MOST_NAMED + 1)]
    if not found:
        return f"the folder {folder} holds no checkpoint of a known format"
    named = ", ".join([*found[:MOST_NAMED], *(["..."] if len(found) > MOST_NAMED else [])])
    return f"nothing in the folder {folder} says which checkpoint is meant; give its path: {named}"


def checkpoints_in(folder: Path) -> Iterator[str]:
    """Yield the names in *folder* that are checkpoints, or folders that stand for one."""
    for name in sorted(os.listdir(folder)):
        with suppress(CheckpointError):
            if claimed(folder / name, each_format()):
                yield name


def beside(path: Path) -> str:
    """Return the end of a message: what *path* may have been meant for."""
    from .tf_bundle.paths import prefix_of
    from .tf_bundle.pointer import names_in

    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    names = {prefix_of(Path(name)).name for name in names_in(path.parent)}
    found = near(path.name, sorted(names))
    return f"; near it: {', '.join(found)}" if found else ""


def expanded(path: str | Path) -> Path:
    """Return *path* with `~` written out; of a URL, the local path that stands for it now."""
    if is_url(path):
        return local_path(str(path))
    if "\0" in str(path):
        raise CheckpointNotFound(f"{str(path)!r} has a NUL in it, as no path can")
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


def files_of(name: str, path: Path) -> Sequence[Path]:
    """Return the files of the checkpoint at *path*, which `locate` returned with its format."""
    format_ = format_named(name)
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    names = os.listdir(path.parent) if hasattr(format_, "found_in") else ()
    joined = format_.found_in(path.parent, names) if names else {}
    return sorted(joined.get(path, [path]))


def open_source(
    path: str | Path, *, verify: bool = True, untrusted: bool = False, **options: Any
) -> Source:
    """Open the checkpoint at *path*, of whatever format it is; see `warmstart.open`."""
    name, found = locate(path)
    return open_as(name, found, verify=verify, untrusted=untrusted, **options)


def open_as(
    name: str, path: Path, *, verify: bool = True, untrusted: bool = False, **options: Any
) -> Source:
    """Open *path*, which `locate` returned with the *name* of its format.

    What goes through a C library is read in a child process if it is *untrusted*.
    """
    format_ = format_named(name)
    with by_url(), noting(f"while reading {path}"), translating_os_errors(path):
        taken = taken_options(name, getattr(format_, "OPTIONS", ()), options)
        if untrusted and hasattr(format_, "C_LIBRARY"):
            from .child import open_in_child

            path = fetched_folder(path) if path.is_dir() else fetched(path)
            files = files_of(name, path)
            return open_in_child(format_, path, files, verify=verify, options=taken)
        try:
            source: Source = format_.open_source(path, verify=verify, **taken)
        except CorruptCheckpoint as error:
            raise never_fetched(name, path) or error from error.__cause__
        return source


def never_fetched(name: str, path: Path) -> CorruptCheckpoint | None:
    """Return the error on what stands where files of the checkpoint at *path* should, if any do."""
    told = [foreign.instead_of_a_file(file) for file in files_of(name, path) if file.is_file()]
    found = list(filter(None, told))
    return CorruptCheckpoint("; ".join(found)) if found else None


def taken_options(name: str, known: Collection[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of *options* that are asked for; the format *name* must know them.

    What is never mapped need not be told so.
    """
    refuse_unknown(options)
    asked = {k: value for k, value in options.items() if value != OPTIONS[k][0]}
    foreign = asked.keys() - known - {"mmap"}
    if foreign:
        raise UnsupportedCheckpoint(f"{name} takes no option {option_words(foreign)}")
    return {option: asked[option] for option in asked.keys() & known}


def refuse_unknown(options: Iterable[str]) -> None:
    """Raise TypeError for *options* that no format has heard of."""
    if unknown := sorted(set(options).difference(OPTIONS)):
        known = ", ".join([*OPTIONS, "untrusted"])
        raise TypeError(f"no option is called {', '.join(unknown)}; the options: {known}")


def option_words(options: Collection[str]) -> str:
    """Return *options* with what each asks for."""
    names = " and no option ".join(map(repr, sorted(options)))
    return f"{names}: {'; '.join(f'{name} is {OPTIONS[name][1]}' for name in sorted(options))}"


def format_to_save(path: str | Path, format: str | None = None) -> str:
    """Return the name of the format that *path* is to be saved in.

    Raise UnknownFormat where that can only be read, or the end of *path* leaves it in doubt.
    """
    if format is not None:
        refuse_read_only(format, path)
        return format
    name = Path(path).name.lower()
    ends: list[str] = []
    for candidate, format_ in each_format():
        if name.endswith(format_.EXTENSIONS):
            refuse_read_only(candidate, path)
            return candidate
        ends += format_.EXTENSIONS
    if why := endings.doubt(name, ends):
        others = ", ".join(name for name in writable_names() if name != DEFAULT)
        raise UnknownFormat(
            f"{path} {why}. To write it all the same, say format= or --format: {others}; "
            f"or {DEFAULT}, for a TensorFlow bundle of that name"
        )
    return DEFAULT


def writable_names() -> list[str]:
    """Return the names of the formats that are written, in the order of `format_names`."""
    return [name for name, format_ in each_format() if hasattr(format_, "save_source")]


def refuse_read_only(name: str, path: str | Path) -> None:
    """Raise when the format called *name* can only be read, or there is none."""
    known = name in format_names()
    if known and hasattr(format_named(name), "save_source"):
        return
    writable = writable_names()
    hint = f" (near it: {close[0]})" if (close := near(name, writable, count=1)) else ""
    fault = f"{name} is only read" if known else f"no format is called {name!r}{hint}"
    raise UnknownFormat(f"{path} cannot be written: {fault}; written are: {', '.join(writable)}")


def save_source(
    source: Source, path: str | Path, *, format: str | None = None, **options: Any
) -> None:
    """Write *source* to *path* in *format*, or in the one its extension names."""
    path = expanded(path)
    name = format_to_save(path, format)
    format_ = format_named(name)
    with by_url(), noting(f"while saving {path}"), source.reading():
        taken = taken_options(name, getattr(format_, "SAVE_OPTIONS", ()), options)
        source.check(source.specs)
        format_.save_source(source, path, **taken)
        send_up(path.parent)
