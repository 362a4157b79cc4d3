"""Everything this library raises on purpose.

CheckpointError
├── CheckpointNotFound        nothing is there, or only half of it (a lone index, a lone data file)
├── UnknownFormat             no format goes by that name, or none recognises the file
├── CorruptCheckpoint         the bytes break the rules of their own format
├── UnsupportedCheckpoint     sound as far as can be seen, but needs what this library does not do
├── CannotHold                a format cannot hold a name, a dtype or a value without changing it
├── NoSuchTensor              a name that was asked for is not there (also a KeyError)
├── MissingDependency         a format or an engine needs a package that is not installed
├── SaveError                 a save did not happen; what was there before still is
├── RestoreError              a plan was refused; nothing was assigned
│   ├── RuleError             a rule cannot be read, or matches nothing
│   ├── NameConflict          two tensors end on one name
│   └── RestoreMismatch       shapes or dtypes do not fit
├── FreezeError               a variable cannot be frozen here, or a frozen one has moved
├── ProcessError              another process of the run failed, or did not answer in time
└── ResumeError               a run cannot go on exactly where it stopped

Faults in a call itself (a wrong type, an impossible argument) are TypeError and ValueError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType


class CheckpointError(Exception):
    """The root of the tree; catching it catches all that a bad file or model can cause."""


class CheckpointNotFound(CheckpointError):
    """Nothing is there, or only half of it."""


class UnknownFormat(CheckpointError):
    """No format goes by that name, or none recognises the file."""


class CorruptCheckpoint(CheckpointError):
    """The bytes break the rules of their own format."""


class UnsupportedCheckpoint(CheckpointError):
    """The checkpoint needs something that this library does not do."""


class CannotHold(CheckpointError):
    """A format cannot hold a name, a dtype or a value without changing it."""


class NoSuchTensor(CheckpointError, KeyError):
    """A name that was asked for is not there."""

    __str__ = Exception.__str__  # KeyError's own would show the message in quotes


class MissingDependency(CheckpointError):
    """A format or an engine needs a package that is not installed."""


class SaveError(CheckpointError):
    """A save did not happen; what was there before still is."""


class RestoreError(CheckpointError):
    """A plan was refused; nothing was assigned."""


class RuleError(RestoreError):
    """A rule cannot be read, or matches nothing."""


class NameConflict(RestoreError):
    """Two tensors end on one name."""


class RestoreMismatch(RestoreError):
    """Shapes or dtypes of source and model do not fit."""


class FreezeError(CheckpointError):
    """A variable cannot be frozen here, or a frozen one has moved."""


class ProcessError(CheckpointError):
    """Another process of the run failed, or did not answer in time."""

    answered = False  # whether process 0 said so to all, and so will not go on either
    lost: tuple[int, ...] = ()  # those that wait for no word on it


class ResumeError(CheckpointError):
    """A run cannot go on exactly where it stopped."""


@contextmanager
def noting(place: str) -> Iterator[None]:
    """Add *place* ("while reading m.npz") to any CheckpointError that leaves the block, once."""
    try:
        yield
    except CheckpointError as error:
        if place not in getattr(error, "__notes__", ()):
            error.add_note(place)
        raise


def full_text(error: BaseException) -> str:
    """Return the message of *error* with its notes, as a traceback would show them."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def first_line(error: BaseException) -> str:
    """Return the first line of what *error* says."""
    return str(error).partition("\n")[0]


def number_of(n: int, noun: str) -> str:
    """Return a number with its noun.

    >>> number_of(1, "tensor"), number_of(3000, "tensor")
    ('1 tensor', '3,000 tensors')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


LONGEST = 60  # characters of a value that is shown


def described(value: object) -> str:
    """Return what *value* is, in a few words: not the values of a tensor, say.

    >>> described(None), described("adam"), described(int), described([1.0] * 1000)
    ('None', "'adam'", 'the class int', 'a list')
    """
    if isinstance(value, type):
        return f"the class {full_name(value)}"
    if value is None or isinstance(value, str | bytes | int | float):
        text = repr(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    if isinstance(value, FunctionType):
        return f"the function {value.__qualname__}"
    name = full_name(type(value))
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def full_name(kind: type) -> str:
    """Return what a program calls the class *kind*."""
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
