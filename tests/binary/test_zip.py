"""Zip archives: Python's own library is the judge of what is written, and writes what is read."""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import zip as ours
from warmstart.binary.zip import (
    CENTRAL,
    END,
    LOCAL,
    ZipWriter,
    inflated,
    read_members,
    runs_between,
)
from warmstart.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint

CONTENTS = {"a": b"1" * 100, "b/c": b"", "ü": bytes(range(256)), "../up": b"x"}


def by_python(contents: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytearray:
    """Return the archive of *contents* that Python writes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return bytearray(file.getvalue())


def by_us(contents: Mapping[str, bytes]) -> bytes:
    """Return the archive of *contents* that we write."""
    file = bytearray()
    writer = ZipWriter(file.extend)
    for name, content in contents.items():
        writer.add(name, content[:3], memoryview(content[3:]))
    writer.finish()
    return bytes(file)


def contents_of(archive: bytes | bytearray) -> dict[str, bytes]:
    """Return what we read of *archive*."""
    file = memoryview(archive)
    return {
        m.name: b"".join(inflated(file[m.begin : m.end], m.size))
        if m.deflated
        else bytes(file[m.begin : m.end])
        for m in read_members(file)
    }


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_python_writes_is_read(method: int) -> None:
    assert contents_of(by_python(CONTENTS, method)) == CONTENTS


def test_what_was_written_python_reads() -> None:
    with zipfile.ZipFile(io.BytesIO(by_us(CONTENTS))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == CONTENTS


def test_what_was_written_is_read_and_lies_at_multiples_of_64() -> None:
    archive = by_us(CONTENTS)
    assert contents_of(archive) == CONTENTS
    assert [m.begin % 64 for m in read_members(memoryview(archive))] == [0] * 4


@pytest.mark.parametrize("length", range(1, 66))
def test_every_width_of_the_padding(length: int) -> None:
    archive = by_us({"n" * length: b"content"})
    assert read_members(memoryview(archive))[0].begin % 64 == 0
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.read("n" * length) == b"content"


NAME = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(st.dictionaries(NAME, st.binary()))
def test_any_contents(contents: dict[str, bytes]) -> None:
    archive = by_us(contents)
    assert contents_of(archive) == contents
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert {name: found.read(name) for name in found.namelist()} == contents


def test_zip64_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if 50 bytes were too many for the short fields."""
    monkeypatch.setattr(ours, "ZIP64_LIMIT", 50)
    archive = by_us(CONTENTS)
    assert archive.count(b"PK\6\6") == archive.count(b"PK\6\7") == 1
    assert contents_of(archive) == CONTENTS
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == CONTENTS


def test_more_members_than_the_short_field_counts() -> None:
    archive = by_us({str(i): b"" for i in range(70_000)})
    assert len(read_members(memoryview(archive))) == 70_000
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        assert len(found.namelist()) == 70_000


def test_zip64_of_python() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("a", "w", force_zip64=True) as member:
        member.write(b"content")
    assert contents_of(file.getvalue()) == {"a": b"content"}


def test_an_archive_with_a_comment() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", b"1")
        archive.comment = b"PK\5\6 is how the end record begins"
    assert contents_of(file.getvalue()) == {"a": b"1"}


def test_a_member_written_to_a_pipe() -> None:
    """Its sizes follow the data; only the directory has them in time."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    file = Pipe()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"1" * 99)
        archive.writestr("b", b"2")
    assert contents_of(file.getvalue()) == {"a": b"1" * 99, "b": b"2"}


# --- bytes from outside -----------------------------------------------------------------------


RECORDS = {"local": (b"PK\3\4", LOCAL), "central": (b"PK\1\2", CENTRAL), "end": (b"PK\5\6", END)}


def changed(what: str, fields: Mapping[int, int]) -> bytes:
    """Return an archive of two members, with *fields* of the last record of a kind changed.

    Its members lie at 0 and 37, the directory at 74, the end record at 168.
    """
    archive = by_python({"a": b"1" * 99, "b": b"2" * 99}, zipfile.ZIP_DEFLATED)
    signature, layout = RECORDS[what]
    at = archive.rindex(signature)
    values = list(layout.unpack_from(archive, at))
    for field, value in fields.items():
        values[field] = value
    layout.pack_into(archive, at, *values)
    return bytes(archive)


BROKEN = {
    "the zip archive has no end record: it was cut short, or is none": changed("end", {7: 7}),
    "the zip directory lies at bytes 0 to 94, not before byte 168": changed("end", {6: 0}),
    "the zip directory has no entry at its byte 94": changed("end", {3: 3, 4: 3}),
    "the zip directory has 94 bytes; its entries take 47": changed("end", {3: 1, 4: 1}),
    "the zip directory ends inside an entry": changed("central", {11: 500}),
    "member 'b' has no local header at byte 1": changed("central", {16: 1}),
    "member 'b' has no local header at byte 4294967000": changed("central", {16: 4294967000}),
    "member 'b' has no zip64 sizes where they are needed": changed("central", {16: 0xFFFFFFFF}),
    "member 'b' has another name in its local header": changed("local", {9: 2}),
    "member 'b' claims 10000 bytes from byte 68 on": changed("central", {8: 10000}),
    "member 'b' claims 9999999 bytes out of 6": changed("central", {9: 9_999_999}),
    "member 'b' claims 99 bytes out of 6": changed("central", {4: 0}),
    "member 'a' begins inside the one before it": changed("central", {16: 0}).replace(b"b", b"a"),
    "the members end at byte 76, inside the directory at 74": changed("local", {10: 2}),
    r"the member name b'\xff' is not UTF-8": changed("central", {3: 0x800}).replace(b"b", b"\xff"),
    "the compressed data unpack to more than they claim": changed("central", {9: 98}),
    "the compressed data unpack to 1 bytes too few": changed("central", {9: 100}),
    "the compressed data are broken": changed("local", {}).replace(b"32\xa2", b"\xff\xff\xff"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_archive(message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=re.escape(message)):
        contents_of(BROKEN[message])


UNSUPPORTED = {
    "member 'b' is encrypted": changed("central", {3: 1}),
    "member 'b' is compressed by method 14; only 0 and 8 are read": changed("central", {4: 14}),
    "the zip archive is split over several files": changed("end", {3: 1}),
    "split over several files": changed("end", {1: 1}),
}


@pytest.mark.parametrize("message", UNSUPPORTED)
def test_an_archive_that_is_not_read(message: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=re.escape(message)):
        contents_of(UNSUPPORTED[message])


@pytest.mark.parametrize(
    ("signature", "offset", "message"),
    [
        (b"PK\6\7", 8, "the zip64 end record is not at byte 1, as its locator says"),
        (b"PK\6\6", 4, "the zip64 end record has 1 bytes and does not fit"),
    ],
)
def test_broken_zip64_records(
    signature: bytes, offset: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "ZIP64_LIMIT", 50)
    archive = bytearray(by_us(CONTENTS))
    struct.pack_into("<Q", archive, archive.index(signature) + offset, 1)
    with pytest.raises(CorruptCheckpoint, match=message):
        contents_of(archive)


def test_data_that_end_before_their_stream_does() -> None:
    packed = zlib.compress(b"1" * 1000, wbits=-15)
    with pytest.raises(CorruptCheckpoint, match="unpack to 0 bytes too few"):
        list(inflated(memoryview(packed[:-1]), 1000))


def test_what_is_unpacked_comes_in_small_pieces() -> None:
    """A bomb is refused at the first piece beyond what it claims."""
    packed = memoryview(zlib.compress(bytes(50_000_000), wbits=-15))
    pieces = inflated(packed, 3_000_000)
    taken: list[int] = []
    with pytest.raises(CorruptCheckpoint, match="unpack to more than they claim"):
        taken.extend(map(len, pieces))
    assert max(taken) <= 1 << 20
    assert sum(taken) <= 3_000_000


@given(st.data())
def test_any_changed_bytes_are_read_or_refused(data: st.DataObject) -> None:
    archive = by_python(CONTENTS, data.draw(st.sampled_from([0, 8])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at] = data.draw(st.integers(0, 255))
    assert read_or_refused(archive)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    assert read_or_refused(content + END.pack(b"PK\5\6", 0, 0, 1, 1, 46, 0, 0))


def read_or_refused(archive: bytes | bytearray) -> bool:
    """Return True; anything but CheckpointError that comes of *archive* fails the test."""
    try:
        found = contents_of(archive)
    except CheckpointError:
        return True
    return sum(map(len, found.values())) <= 1032 * len(archive)


# --- every byte accounted for -----------------------------------------------------------------


class Pipe(io.BytesIO):
    """A file in which nobody can go back."""

    def tell(self) -> int:
        raise io.UnsupportedOperation


def runs_of(archive: bytes) -> list[str]:
    """Return the runs of bytes that nothing in the archive accounts for."""
    file = memoryview(archive)
    return list(runs_between(file, read_members(file)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_byte_of_an_archive_is_accounted_for(method: int) -> None:
    assert runs_of(by_python(CONTENTS, method)) == []
    assert runs_of(by_us(CONTENTS)) == []


def test_records_of_an_archive_written_in_a_stream_are_accounted_for() -> None:
    stream = Pipe()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"1" * 100)
        with archive.open("b", "w", force_zip64=True) as member:
            member.write(b"2" * 100)
    assert stream.getvalue().count(b"PK\7\x08") == 2
    assert runs_of(stream.getvalue()) == []


def test_bytes_that_nothing_accounts_for_are_named() -> None:
    archive = by_us({"a": b"1" * 100})
    end = len(archive)
    assert runs_of(shifted(archive, b"before", end)) == ["bytes 0 to 6, which begin b'before'"]
    comment = archive[:-2] + (7).to_bytes(2, "little") + b"comment"
    assert runs_of(comment) == [
        f"bytes {end} to {end + 7}, which begin b'comment' (the comment of the archive)"
    ]
    directory = archive.index(b"PK\1\2")
    moved = archive[:directory] + b"between" + archive[directory:]
    moved = moved[:-6] + (directory + 7).to_bytes(4, "little") + moved[-2:]
    assert runs_of(moved) == [f"bytes {directory} to {directory + 7}, which begin b'between'"]


def shifted(archive: bytes, prefix: bytes, end: int) -> bytes:
    """Return *archive*, of one member, moved back by *prefix*, as its records then say."""
    directory = archive.index(b"PK\1\2")
    entry = bytearray(archive[directory : end - END.size])
    entry[42:46] = len(prefix).to_bytes(4, "little")
    offset = (directory + len(prefix)).to_bytes(4, "little")
    return prefix + archive[:directory] + entry + archive[end - END.size : -6] + offset + b"\0\0"
