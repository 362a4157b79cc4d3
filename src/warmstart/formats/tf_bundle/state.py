"""The file `checkpoint`: which bundle of a folder is the latest, as text.

    model_checkpoint_path: "model-200"
    all_model_checkpoint_paths: "model-100"
    all_model_checkpoint_paths: "model-200"
    all_model_checkpoint_timestamps: 1700000000.5
    last_preserved_timestamp: 1700000000.0
    # warmstart: {"preserved_step": 100}

Paths are relative to the folder or absolute.  Texts are quoted with C's escapes.  The last line is
a note of this library's own, a comment to TensorFlow.
Source: TensorFlow 2.21, python/training/checkpoint_state.proto; protobuf's text format.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...binary.atomic import replacing, write_fully
from ...binary.window import opened
from ...errors import CheckpointError, CorruptCheckpoint

FILE_NAME = "checkpoint"
MAX_BYTES = 16 << 20  # a million paths; a larger file is not one of these

FIELDS = (
    "model_checkpoint_path",
    "all_model_checkpoint_paths",
    "all_model_checkpoint_timestamps",
    "last_preserved_timestamp",
)

NOTE = "# warmstart: "
NOTED = re.compile(rf"^{NOTE}(.*)$", re.MULTILINE)  # no text holds one: texts end with their line

SKIPPED = r"(?:[\s,;]|#[^\n]*)*+"
TEXT = r"""(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')"""
ASSIGNMENT = re.compile(rf"(\w++)\s*+:\s*+((?:{TEXT}\s*+)++|[-+.\w]++){SKIPPED}", re.DOTALL)
ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
SIMPLE = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))


@dataclass(frozen=True, slots=True)
class State:
    """What the file `checkpoint` says; paths as they stand in it."""

    latest: str
    all_paths: tuple[str, ...] = ()
    timestamps: tuple[float, ...] = ()
    last_preserved: float | None = None
    note: str = ""


def read_state(folder: Path, name: str = FILE_NAME) -> State | None:
    """Return what the file `checkpoint` in *folder* says, or None when there is none."""
    path = Path(folder) / name
    try:
        with opened(path) as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    return parse_state(raw)


def is_state(raw: bytes) -> bool:
    """Return whether *raw*, the beginning of a file, looks like one."""
    start = re.match(rb"(?:\s|#[^\n]*+\n)*+(\w++)\s*+:", raw)
    return start is not None and start[1].decode("ascii", "replace") in FIELDS


def parse_state(raw: bytes) -> State:
    """Return what the text *raw* says.  Fields of a newer TensorFlow are passed over."""
    if len(raw) > MAX_BYTES:
        raise CorruptCheckpoint(f"the file `checkpoint` has more than {MAX_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint("the file `checkpoint` is not text") from error
    found: dict[str, list[str]] = {field: [] for field in FIELDS}
    for name, value in assignments(text):
        found.setdefault(name, []).append(value)
    latest, paths, timestamps, preserved = (found[field] for field in FIELDS)
    if not latest or not unquoted(latest[-1]):
        raise CorruptCheckpoint("the file `checkpoint` names no latest checkpoint")
    return State(
        unquoted(latest[-1]),
        tuple(map(unquoted, paths)),
        tuple(map(as_seconds, timestamps)),
        as_seconds(preserved[-1]) if preserved else None,
        "".join(NOTED.findall(text)[-1:]),
    )


def assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield (field, value as written) of *text*."""
    start = re.match(SKIPPED, text)
    at = start.end() if start else 0
    while at < len(text):
        match = ASSIGNMENT.match(text, at)
        if match is None:
            raise CorruptCheckpoint(
                f"the file `checkpoint` has {text[at : at + 40]!r} at character {at}, where "
                'a line like `model_checkpoint_path: "model-100"` is expected'
            )
        yield match[1], match[2]
        at = match.end()


def unquoted(value: str) -> str:
    """Return the text that *value* writes with quotes and escapes.

    >>> unquoted('"caf\\\\303\\\\251" ".ckpt"')
    'café.ckpt'
    """
    parts = re.findall(TEXT, value, re.DOTALL)
    if not parts:
        raise CorruptCheckpoint(
            f"the file `checkpoint` has {value[:40]!r} where a path is expected"
        )
    raw = ESCAPE.sub(unescaped, "".join(part[1:-1] for part in parts).encode())
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(
            f"the path {raw!r} in the file `checkpoint` is not UTF-8"
        ) from error


def unescaped(match: re.Match[bytes]) -> bytes:
    """Return what one escape stands for."""
    octal, hexadecimal, short, long, letter = match.groups()
    if letter is not None:
        if letter[0] not in SIMPLE:
            raise CorruptCheckpoint(f"the file `checkpoint` has the unknown escape {match[0]!r}")
        return bytes([SIMPLE[letter[0]]])
    code = int(octal, 8) & 0xFF if octal else int(hexadecimal or short or long, 16)
    if octal or hexadecimal:
        return bytes([code])
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise CorruptCheckpoint(
            f"the file `checkpoint` has the escape {match[0]!r} of no character"
        )
    return chr(code).encode()


def as_seconds(value: str) -> float:
    """Return the number that *value* writes."""
    try:
        return float(value)
    except ValueError as error:
        raise CorruptCheckpoint(
            f"the file `checkpoint` has {value[:40]!r} where a time in seconds is expected"
        ) from error


def write_state(
    folder: Path,
    latest: Path | str,
    all_paths: Sequence[Path | str] = (),
    *,
    timestamps: Sequence[float] = (),
    last_preserved: float | None = None,
    note: str = "",
    name: str = FILE_NAME,
) -> None:
    """Replace the file `checkpoint` in *folder*; *note* is one line of ASCII.

    Paths inside *folder* are written relative to it, so that the folder can be moved.  A link to
    such a file keeps pointing at what is replaced; one to anything else is replaced itself.
    """
    lines = [f"{FIELDS[0]}: {quoted(pointer(latest, folder))}"]
    lines += [f"{FIELDS[1]}: {quoted(pointer(path, folder))}" for path in all_paths]
    lines += [f"{FIELDS[2]}: {float(seconds)!r}" for seconds in timestamps]
    if last_preserved is not None:
        lines.append(f"{FIELDS[3]}: {float(last_preserved)!r}")
    if note:
        lines.append(NOTE + note)
    path = Path(folder) / name
    with replacing(path, follow_link=not is_link_to_another_kind(path)) as file:
        write_fully(file, ("\n".join(lines) + "\n").encode())


def is_link_to_another_kind(path: Path) -> bool:
    """Return whether *path* is a link to a file that is no file `checkpoint`, such as an index.

    That one is somebody's, and not ours to write over.
    """
    if not path.is_symlink() or not path.is_file():
        return False
    try:
        with opened(path) as file:
            begin = file.read(4096)
    except OSError:  # it is not known to be
        return False
    return begin != b"" and not is_state(begin)


def pointer(path: Path | str, folder: Path) -> str:
    """Return *path* as the file in *folder* names it; a relative one is relative to the folder."""
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    inside = Path(os.path.abspath(folder))
    return str(path.relative_to(inside)) if path.is_relative_to(inside) else str(path)


def quoted(text: str) -> str:
    """Return *text* in quotes, with escapes, in ASCII, as protobuf writes it."""
    return '"' + "".join(map(escaped, os.fsencode(text))) + '"'


def escaped(byte: int) -> str:
    """Return one byte of a text as protobuf writes it."""
    if byte in b"\\\"'":
        return "\\" + chr(byte)
    short = {9: "\\t", 10: "\\n", 13: "\\r"}.get(byte)
    return short or (chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}")
