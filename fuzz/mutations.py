"""Ways to damage files, as data: an input is a seed and a few edits, so that it can be shrunk.

    Edit(file, kind, a, b)      what the numbers mean is for the kind to say, modulo what there is

Some kinds know a layout (JSON, zip, sorted tables) and keep its lengths and checksums right, so
that the damage gets past them.
"""

import io
import json
import random
import re
import zipfile
from collections.abc import Callable
from typing import NamedTuple

from warmstart.binary.table import Table, write_table
from warmstart.errors import CheckpointError

Files = dict[str, bytes]


class Edit(NamedTuple):
    """One change of one file."""

    file: int
    kind: int
    a: int
    b: int


#: Numbers that readers stumble over.
EXTREMES = [0, 1, 2, 3, 16, 64, 65, 127, 128, 254, 255, 0x7FFF, 0xFFFF, 10_000, 10**6, 10**9,
            2**31 - 1, 2**31, 2**32 - 1, 2**48, 2**62, 2**63 - 1, 2**63, 2**64 - 1]  # fmt: skip
TEXTS = [b"../../etc/passwd", b"/etc/passwd", b"", b"\xff\xfe", b"__metadata__", b"a" * 300,
         b"os", b"system", b"builtins", b"eval", b"float32", b"<f8", b"|O", b"..", b"\\u0000",
         b"_RUN/state", b"%s%n", b"\x00"]  # fmt: skip
JSONS = [b"null", b"-1", b"1e999", b"[]", b"{}", b"true", b'"x"', b"9" * 30, b"[" * 2000,
         b"0.5", b"NaN"]  # fmt: skip


def edited(files: Files, edits: list[Edit]) -> Files:
    """Return *files* after all *edits*."""
    files = dict(files)
    for edit in edits:
        names = sorted(files)
        name = names[edit.file % len(names)]
        files[name] = KINDS[edit.kind % len(KINDS)](files[name], edit.a, edit.b)
    return files


def random_edits(rng: random.Random) -> list[Edit]:
    """Return one to five edits."""
    count = rng.choice([1, 1, 1, 2, 2, 3, 5])
    return [Edit(rng.randrange(64), rng.randrange(256), *numbers(rng)) for _ in range(count)]


def numbers(rng: random.Random) -> tuple[int, int]:
    return rng.getrandbits(32), rng.getrandbits(32)


def at(raw: bytes, a: int) -> int:
    """Return a place in *raw*."""
    return a % len(raw) if raw else 0


def flip(raw: bytes, a: int, b: int) -> bytes:
    i = at(raw, a)
    return raw[:i] + bytes([raw[i] ^ 1 << b % 8]) + raw[i + 1 :] if raw else raw


def set_byte(raw: bytes, a: int, b: int) -> bytes:
    i = at(raw, a)
    return raw[:i] + bytes([b % 256]) + raw[i + 1 :]


def set_number(raw: bytes, a: int, b: int) -> bytes:
    """Write an extreme number of 1 to 8 bytes, in either order."""
    size, order = (1, 2, 4, 8)[b % 4], ("little", "big")[b // 4 % 2]
    value = EXTREMES[b // 8 % len(EXTREMES)] % 256**size
    i = at(raw, a)
    return raw[:i] + value.to_bytes(size, order) + raw[i + size :]


def set_varint(raw: bytes, a: int, b: int) -> bytes:
    """Write an extreme varint in the place of a byte."""
    value, out = EXTREMES[b % len(EXTREMES)], bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    i = at(raw, a)
    return raw[:i] + bytes(out) + raw[i + 1 :]


def truncate(raw: bytes, a: int, b: int) -> bytes:
    return raw[: at(raw, a)]


def delete(raw: bytes, a: int, b: int) -> bytes:
    i = at(raw, a)
    return raw[:i] + raw[i + 1 + b % 32 :]


def repeat(raw: bytes, a: int, b: int) -> bytes:
    """Repeat a run, a few times or very often."""
    i, n, times = at(raw, a), 1 + b % 64, (1, 2, 3, 500)[b // 64 % 4]
    return raw[: i + n] + raw[i : i + n] * times + raw[i + n :]


def insert(raw: bytes, a: int, b: int) -> bytes:
    i = at(raw, a)
    return raw[:i] + random.Random(b).randbytes(1 + b % 16) + raw[i:]


def copy_over(raw: bytes, a: int, b: int) -> bytes:
    """Write one run over another."""
    i, j, n = at(raw, a), at(raw, b), 1 + (a ^ b) % 64
    return raw[:j] + raw[i : i + n] + raw[j + n :]


def swap_runs(raw: bytes, a: int, b: int) -> bytes:
    i, j = sorted((at(raw, a), at(raw, b)))
    n = min(32, j - i)
    return raw[:i] + raw[j : j + n] + raw[i + n : j] + raw[i : i + n] + raw[j + n :]


def text_number(raw: bytes, a: int, b: int) -> bytes:
    """Put an extreme number, or another value of JSON, in the place of digits."""
    found = list(re.finditer(rb"\d+", raw))
    if not found:
        return set_number(raw, a, b)
    match = found[a % len(found)]
    choices = [str(n).encode() for n in EXTREMES] + JSONS
    return raw[: match.start()] + choices[b % len(choices)] + raw[match.end() :]


def text(raw: bytes, a: int, b: int) -> bytes:
    """Put a hostile text in the place of a word, keeping its length or not."""
    found = list(re.finditer(rb"[A-Za-z_.<>|][A-Za-z0-9_./-]{1,60}", raw))
    if not found:
        return insert(raw, a, b)
    match = found[a % len(found)]
    other = found[b // 64 % len(found)].group()
    new = [*TEXTS, other][b % (len(TEXTS) + 1)]
    if b // 32 % 2:
        new = new[: len(match.group())].ljust(len(match.group()), b"_")
    return raw[: match.start()] + new + raw[match.end() :]


# --- kinds that know a layout -----------------------------------------------------------------


def in_json(raw: bytes, a: int, b: int) -> bytes:
    """Change the JSON in a file, with the length of a safetensors header kept right."""
    begin = 8 if raw[8:9] == b"{" else 0
    n = int.from_bytes(raw[:8], "little") if begin else len(raw)
    changed = (text_number, text, repeat, key_twice)[b % 4](raw[begin : begin + n], a, b // 4)
    head = len(changed).to_bytes(8, "little") if begin else b""
    return head + changed + raw[begin + n :]


def key_twice(raw: bytes, a: int, b: int) -> bytes:
    """Give an object of JSON a member twice."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(value, dict) or not value:
        return raw
    key = sorted(value)[a % len(value)]
    return b"{" + json.dumps({key: value[key]}).encode()[1:-1] + b"," + raw.lstrip()[1:]


def in_zip(raw: bytes, a: int, b: int) -> bytes:
    """Change a member of a zip, its name, or which there are; the checksums are right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # no zip, or damaged before
        return flip(raw, a, b)
    if not members:
        return raw
    i, j = a % len(members), b // 16 % len(members)
    what = b % 16
    if what == 0:
        members[i], members[j] = (members[i][0], members[j][1]), (members[j][0], members[i][1])
    elif what == 1:
        members[i] = (TEXTS[b // 16 % len(TEXTS)].decode("latin-1") or "x", members[i][1])
    elif what == 2:
        del members[i]
    elif what == 3:
        members.append(members[i])
    else:
        kind = PLAIN[what % len(PLAIN)] if what < 15 else in_json
        members[i] = (members[i][0], kind(members[i][1], b // 16, a))
    return zipped(members, compressed=bool(a & 1))


def zipped(members: list[tuple[str, bytes]], *, compressed: bool) -> bytes:
    """Return a zip of *members*, whatever their names."""
    out = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name.replace("\0", "_"), (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.NameToInfo.pop(info.filename, None)  # twice is what is wanted
            archive.writestr(info, content)
    return out.getvalue()


def in_table(raw: bytes, a: int, b: int) -> bytes:
    """Change a key or a value of a sorted table; the checksums of its blocks are right again."""
    try:
        table = Table(memoryview(raw), verify=False)
        items = [(key, bytes(table.get(key) or b"")) for key in table.keys()]  # noqa: SIM118
    except CheckpointError:
        return flip(raw, a, b)
    if not items:
        return raw
    i, kind = a % len(items), PLAIN[b % len(PLAIN)]
    key, value = items[i]
    if b // 16 % 8 == 0:
        items[i] = (kind(key, b // 128, a), value)
    else:
        items[i] = (key, kind(value, b // 128, a // len(items)))
    return write_table(sorted(dict(items).items()))


PLAIN: list[Callable[[bytes, int, int], bytes]] = [
    flip, set_byte, set_number, set_varint, truncate, delete, repeat, insert, copy_over,
    swap_runs, text_number, text,
]  # fmt: skip

KINDS = [*PLAIN, in_json, in_json, in_zip, in_zip, in_zip, in_zip, in_table, in_table, in_table]
