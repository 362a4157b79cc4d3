"""OCDBT databases of TensorStore: keys and values in a few files, read without it.

    manifest.ocdbt = block(config, files, versions)       a version names the root of its tree
    d/XXXX         = values and tree nodes, at any offset
    node           = block(height, files, entries)        entries sorted by key, prefixes shared
    block          = magic u32be, nbytes u64le, version 0, compression, body, CRC-32C u32le

    files    = n, shared prefix * (n - 1), suffix length * n, base length * n, suffixes
    leaf     = n, shared prefix * (n - 1), suffix length * n, suffixes, value length * n, kind * n,
               (file * m, offset * m) of the m values that lie outside, the others' bytes
    inner    = n, shared prefix * (n - 1), suffix length * n, prefix of the subtree * n, suffixes,
               file * n, offset * n, nbytes * n, three statistics * n

Numbers without a width are varints.  Compression is 0 for none, 1 for a zstd frame.
Sources: tensorstore, kvstore/ocdbt/index.rst, and what tensorstore 0.1.86 writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

from ..errors import CheckpointNotFound, CorruptCheckpoint
from . import zstd
from .checksum import crc32c
from .window import FileBytes, file_bytes
from .wire import read_varint, varint

MANIFEST = "manifest.ocdbt"
MANIFEST_MAGIC, NODE_MAGIC = 0x0CDB3A2A, 0x0CDB20DE
PLAIN, ZSTD = 0, 1  # compression of a block
HEADER = 14  # bytes before the body of a block: four and eight, and two varints that are below 128
MAX_KEY = 65535
#: Shared prefixes let few bytes say long keys; all keys of a node take so many times its size.
MAX_UNFOLDING = 256
#: What any block may unpack to beside that many times its own size.
FREE = 16 << 20


class ForeignDatabase(Exception):
    """The database has to be read through TensorStore: for its kind, or for want of zstandard."""


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value lies: in a file, or *inline* in the tree itself."""

    file: str
    begin: int
    nbytes: int
    inline: bytes | None = None


class Database:
    """The values of the latest version by key; raises ForeignDatabase when it is opened."""

    def __init__(self, folder: Path, *, mmap: bool = True) -> None:
        self._folder = folder
        self._mmap = mmap
        self._file = cache(self._open)
        self._seen: set[tuple[str, int]] = set()
        self._room: dict[str, int] = {}
        self.values = dict(self._walk(folder / MANIFEST))

    def place(self, value: Value) -> tuple[FileBytes, int, int]:
        """Return the file that holds *value*, where it begins there and its bytes."""
        if value.inline is not None:
            return memoryview(value.inline), 0, value.nbytes
        self._check(value.file, value.begin, value.nbytes)
        return self._file(value.file), value.begin, value.nbytes

    def _open(self, name: str) -> FileBytes:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise CorruptCheckpoint(f"the database names the file {name!r} outside its own folder")
        if not (self._folder / path).is_file():
            raise CheckpointNotFound(f"the data file {name!r} of the database is missing")
        return file_bytes(self._folder / path, mmap=self._mmap)

    def _check(self, file: str, begin: int, nbytes: int) -> None:
        size = len(self._file(file))
        if nbytes > size - begin:
            raise CorruptCheckpoint(
                f"{nbytes} bytes are to lie at byte {begin} of {file}, which has {size}"
            )

    def _walk(self, manifest: Path) -> Iterator[tuple[str, Value]]:
        raw = file_bytes(manifest)
        root = latest_root(Cursor.of_block(bytes(raw[:]), MANIFEST_MAGIC, "the manifest"))
        if root is not None:
            yield from self._node(*root, prefix=b"")

    def _node(
        self, base: str, file: str, begin: int, nbytes: int, height: int, *, prefix: bytes
    ) -> Iterator[tuple[str, Value]]:
        """Yield what the node at *begin* holds; a node that was come to before is refused."""
        if (file, begin) in self._seen:
            raise CorruptCheckpoint(f"the node at byte {begin} of {file} has two parents")
        self._seen.add((file, begin))
        what = f"the node at byte {begin} of {file}"
        self._check(file, begin, nbytes)
        left = self._room.setdefault(file, len(self._file(file))) - nbytes
        if left < 0:
            raise CorruptCheckpoint(f"nodes lie over one another in {file}")
        self._room[file] = left
        raw = bytes(self._file(file)[begin : begin + nbytes])
        body = Cursor.of_block(raw, NODE_MAGIC, what)
        if body.byte() != height:
            raise CorruptCheckpoint(f"{what} is not {height} levels above the values")
        files = body.files(base)
        if height == 0:
            yield from body.values(files, prefix)
            return
        for (child_base, child), at, size, inner in body.children(files, prefix):
            yield from self._node(child_base, child, at, size, height - 1, prefix=inner)


def latest_root(body: "Cursor") -> tuple[str, str, int, int, int] | None:
    """Return base, file, begin, nbytes and height of the latest tree; None if there is none."""
    body.take(16)  # uuid
    kind = body.varint()
    body.varints(2)  # limits for whoever writes
    body.byte()
    if body.varint():
        body.take(4)  # zstd's level
    if kind:
        raise ForeignDatabase("the versions stand in manifests of their own")
    files = body.files("")
    n = body.count()
    body.varints(n)  # generations
    heights = body.take(n)
    numbers, offsets, lengths = body.varints(n), body.varints(n), body.varints(n)
    if not n or not lengths[-1] or lengths[-1] == 2**64 - 1:
        return None
    return (*body.file(files, numbers[-1]), offsets[-1], lengths[-1], heights[-1])


class Cursor:
    """Reads the numbers of a block one after another."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self._at = 0

    @classmethod
    def of_block(cls, block: bytes, magic: int, what: str) -> "Cursor":
        """Return a cursor at the body of *block*, checked against its length and checksum."""
        if len(block) < HEADER + 4 or int.from_bytes(block[:4], "big") != magic:
            raise CorruptCheckpoint(f"{what} does not begin as one")
        if int.from_bytes(block[4:12], "little") != len(block):
            raise CorruptCheckpoint(f"{what} does not have the length that it says")
        if crc32c(block[:-4]) != int.from_bytes(block[-4:], "little"):
            raise CorruptCheckpoint(f"the CRC-32C of {what} is wrong")
        if block[12]:
            raise CorruptCheckpoint(f"{what} has version {block[12]}, where 0 is known")
        return cls(body_of(block, what), what)

    def take(self, nbytes: int) -> bytes:
        """Return the next *nbytes*."""
        if nbytes > len(self._data) - self._at:
            raise CorruptCheckpoint(f"{self._what} ends {nbytes} bytes too early")
        self._at += nbytes
        return self._data[self._at - nbytes : self._at]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """Return the next number."""
        value, self._at = read_varint(self._data, self._at)
        return value

    def varints(self, n: int) -> list[int]:
        """Return the next *n* numbers."""
        return [self.varint() for _ in range(n)]

    def count(self) -> int:
        """Return the next number, which says how many follow."""
        n = self.varint()
        left = len(self._data) - self._at
        if n > left:
            raise CorruptCheckpoint(f"{self._what} claims {n} entries, where {left} bytes are left")
        return n

    def unfolded(self, shared: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return texts of which each says how much it shares with the one before."""
        found: list[bytes] = []
        room = MAX_UNFOLDING * len(self._data) + MAX_KEY
        for common, length in zip([0, *shared], lengths, strict=False):  # of none there is a 0
            before = found[-1] if found else b""
            room -= common + length
            if common > len(before) or common + length > MAX_KEY or room < 0:
                raise CorruptCheckpoint(f"{self._what} has a key that cannot be")
            found.append(before[:common] + self.take(length))
        return found

    def files(self, base: str) -> list[tuple[str, str]]:
        """Return (base, path) of each file; *base* is that of the file this block lies in."""
        n = self.count()
        shared, lengths, bases = self.varints(max(n - 1, 0)), self.varints(n), self.varints(n)
        paths = [base + text(path) for path in self.unfolded(shared, lengths)]
        return [(path[: len(base) + b], path) for b, path in zip(bases, paths, strict=True)]

    def file(self, files: Sequence[tuple[str, str]], number: int) -> tuple[str, str]:
        """Return one of *files*."""
        if number >= len(files):
            raise CorruptCheckpoint(f"{self._what} names file {number} of {len(files)}")
        return files[number]

    def values(
        self, files: Sequence[tuple[str, str]], prefix: bytes
    ) -> Iterator[tuple[str, Value]]:
        """Yield every value of a leaf."""
        n = self.count()
        shared, lengths = self.varints(max(n - 1, 0)), self.varints(n)
        keys = [text(prefix + key) for key in self.unfolded(shared, lengths)]
        sizes, kinds = self.varints(n), self.take(n)
        m = sum(kind != 0 for kind in kinds)
        outside = iter(list(zip(self.varints(m), self.varints(m), strict=True)))
        for key, nbytes, kind in zip(keys, sizes, kinds, strict=True):
            if kind:
                number, offset = next(outside)
                yield key, Value(self.file(files, number)[1], offset, nbytes)
            else:
                yield key, Value("", 0, nbytes, self.take(nbytes))

    def children(
        self, files: Sequence[tuple[str, str]], prefix: bytes
    ) -> Iterator[tuple[tuple[str, str], int, int, bytes]]:
        """Yield file, begin, nbytes and the prefix of all keys of every node below."""
        n = self.count()
        shared, lengths, common = self.varints(max(n - 1, 0)), self.varints(n), self.varints(n)
        keys = self.unfolded(shared, lengths)
        columns = zip(keys, common, self.varints(n), self.varints(n), self.varints(n), strict=True)
        for key, inner, number, offset, nbytes in columns:
            yield self.file(files, number), offset, nbytes, prefix + key[:inner]


def body_of(block: bytes, what: str) -> bytes:
    """Return the body of a *block*, unpacked."""
    body, kind = block[HEADER:-4], block[HEADER - 1]
    if kind == PLAIN:
        return body
    if kind != ZSTD or zstd.library() is None:
        raise ForeignDatabase(what)
    return zstd.unpacked(body, FREE + MAX_UNFOLDING * len(body), what)


def text(raw: bytes) -> str:
    """Return a key or a path; bytes that are no UTF-8 stay what they are."""
    return raw.decode("utf-8", "surrogateescape")


# --- writing ----------------------------------------------------------------------------------


def encoded_leaf(file: str, values: Sequence[tuple[str, Value]]) -> bytes:
    """Return a node of *values*, which are sorted by key and lie in *file* or inline."""
    keys = [key.encode() for key, _ in values]
    outside = [value for _, value in values if value.inline is None]
    body = [
        b"\0",
        encoded_files([file]),
        varint(len(values)),
        folded(keys),
        *(varint(value.nbytes) for _, value in values),
        bytes(value.inline is None for _, value in values),
        *(varint(0) for _ in outside),
        *(varint(value.begin) for value in outside),
        *(value.inline for _, value in values if value.inline is not None),
    ]
    return block(NODE_MAGIC, b"".join(body))


def encoded_manifest(file: str, begin: int, node: bytes, values: Sequence[Value]) -> bytes:
    """Return the manifest of a database of one version, whose only *node* is at *begin*."""
    import hashlib  # 2 ms, which a listing does without

    outside = sum(value.nbytes for value in values if value.inline is None)
    body = [
        hashlib.blake2b(node, digest_size=16).digest(),  # the uuid: the same for the same content
        b"\0",  # one file for the manifest
        varint(1024),
        varint(100_000_000),  # the limits that Orbax sets: of inline values and of nodes
        b"\4",
        b"\0",  # no compression
        encoded_files([file]),
        varint(1),  # versions: number, height, file, offset, nbytes, statistics, time
        b"\1\0\0",
        varint(begin),
        varint(len(node)),
        varint(len(values)),
        varint(len(node)),
        varint(outside),
        (1).to_bytes(8, "little"),
        b"\0",  # no tree of older versions
    ]
    return block(MANIFEST_MAGIC, b"".join(body))


def encoded_files(paths: Sequence[str]) -> bytes:
    """Return a table of files."""
    return varint(len(paths)) + folded([p.encode() for p in paths], [b"\0" * len(paths)])


def folded(keys: Sequence[bytes], between: Sequence[bytes] = ()) -> bytes:
    """Return sorted *keys*, each without what it shares with the one before."""
    shared = [common_length(a, b) for a, b in pairwise(keys)]
    rests = [key[n:] for key, n in zip(keys, [0, *shared], strict=False)]
    parts = [*map(varint, shared), *(varint(len(rest)) for rest in rests), *between, *rests]
    return b"".join(parts)


def common_length(a: bytes, b: bytes) -> int:
    """Return how many bytes two keys have in common at their start.

    >>> common_length(b"kernel/0", b"kernel/.zarray")
    7
    """
    pairs = enumerate(zip(a, b, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(a), len(b)))


def block(magic: int, body: bytes, compression: int = PLAIN) -> bytes:
    """Return *body*, which is packed already if it is to be, with its header and its checksum."""
    nbytes = HEADER + len(body) + 4
    data = magic.to_bytes(4, "big") + nbytes.to_bytes(8, "little") + bytes([0, compression]) + body
    return data + crc32c(data).to_bytes(4, "little")
