"""Checkpoints as plain dictionaries of arrays, to be looked at and edited by hand.

variables = load_vars("runs/base")            # name -> array, whatever the format
del variables["fc/kernel"]
save_vars(variables, "edited")                # edited.index and edited.data-00000-of-00001
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..errors import CannotHold
from ..formats import expanded, format_to_save, open_source, save_source
from ..formats.tf_bundle.together import save_together
from ..sessions.base import Session
from ..source import Source, Variables, as_source
from ..spec import RUN_PREFIX
from .destination import check_destination
from .options import Reading
from .views import read_ahead

if TYPE_CHECKING:
    import numpy as np


def open(
    path: str | Path,
    *,
    verify: bool = True,
    mmap: bool = True,
    untrusted: bool = False,
    like: str | Path | None = None,
    dequantize: bool = False,
) -> Source:
    """Open the checkpoint at *path*, of whatever format it is, without reading values.

    *path* is written as people type it: a file, a bundle's prefix, index or data file, a
    `checkpoint` file, a folder (its latest checkpoint), with `~`.

    verify      check a tensor's checksum at its first read, where the format has one
    mmap        False: read the file and do not map it, for file systems that map badly
    untrusted   read what goes through a C library (HDF5, tensorstore) in a child process with
                limits; what this library reads itself needs none
    like        a checkpoint to borrow names from, where the file has only numbers for them
    dequantize  True: quantised tensors as float32, not as the bytes of their blocks

    An option that the format does not take raises UnsupportedCheckpoint; *mmap* and *untrusted* are
    heard where they change something, and harmless elsewhere.
    """
    return open_source(
        path, verify=verify, mmap=mmap, untrusted=untrusted, like=like, dequantize=dequantize
    )


def load_vars(path: str | Path, *, verify: bool = True, **options: Unpack[Reading]) -> Variables:
    """Return every variable of the checkpoint at *path* by name, run state (`_RUN/`) left out.

    *verify* and *options* are those of `open`.  A tensor with several names (a tied one, a variable
    of TensorFlow 2) is listed under one and found under each.  The arrays may be changed at will,
    which never changes the file: those of a bundle are mapped, and a page is copied when it is
    written to.
    """
    with open_source(path, verify=verify, **options) as source, read_ahead(path, source):
        arrays = {
            name: writable(array)
            for name, array in source.read_all().items()
            if not name.startswith(RUN_PREFIX)
        }
        return Variables(arrays, source.aliases, source.derived)


def writable(array: "np.ndarray") -> "np.ndarray":
    """Return *array* if it may be written to, or allowed to be; else a copy."""
    if not array.flags.writeable:
        try:
            array.flags.writeable = True  # of a private map, which copies the pages written to
        except ValueError:
            return array.copy()
    return array


def save_vars(
    variables: Source | Mapping[str, Any],
    path: str | Path,
    format: str | None = None,
    *,
    like: str | Path | None = None,
) -> None:
    """Write *variables* (a dict, an open checkpoint, a session, a live model) to *path*.

    The format is the one the extension of *path* names; without a known one it is a TensorFlow
    bundle, and no `checkpoint` file is written beside it.  What stands at *path* is replaced
    at once, or kept if anything fails; a file of another kind is not replaced.  *like* is a
    checkpoint whose structure is to be kept, for a format that cannot know it from names.  A model
    of which each of several processes has a part is saved by all of them, as a bundle.
    """
    check_destination(path, format)
    source = as_variables(variables)
    if isinstance(source, Session) and source.pieces:
        save_pieces(source, expanded(path), format, like)
    else:
        save_source(source, path, format=format, like=like)


def save_pieces(session: Session, path: Path, format: str | None, like: str | Path | None) -> None:
    """Write a model of which each process has only a part, as all of its processes call it."""
    name = format_to_save(path, format)
    if name != "tf-bundle" or like is not None:
        raise CannotHold(
            f"the model is in {session.processes.count} processes, of which each writes its part: "
            f"that makes a TensorFlow bundle, not {name!r}, and like no other; save a bundle, and "
            "let one process ws.convert it"
        )
    save_together(session, path, session.processes)
    session.processes.leave()


def as_variables(variables: Any) -> Source:
    """Return a source of *variables*, asking the engines for a session if it is a live model."""
    if isinstance(variables, Source | Mapping):
        return as_source(variables)
    from ..sessions import session_for

    return session_for(variables)


#: The names that the reference implementation gives these two.
load_chkpt_vars = load_checkpoint_vars = load_vars
save_chkpt_vars = save_checkpoint_vars = save_vars
