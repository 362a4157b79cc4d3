"""OCDBT databases, with tensorstore as the judge."""

from pathlib import Path
from typing import Any

import pytest
import tensorstore as ts
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary import zstd
from warmstart.binary.ocdbt import (
    HEADER,
    MANIFEST,
    MANIFEST_MAGIC,
    NODE_MAGIC,
    ZSTD,
    Cursor,
    Database,
    ForeignDatabase,
    Value,
    block,
    encoded_files,
    encoded_leaf,
    encoded_manifest,
    latest_root,
)
from warmstart.binary.wire import varint
from warmstart.errors import CheckpointError, CheckpointNotFound, CorruptCheckpoint

CONTENT = {f"a{i:03}/key": bytes([i % 256]) * (i % 40) for i in range(300)}


def opened(folder: Path, **config: Any) -> ts.KvStore:
    base = {"driver": "file", "path": f"{folder}/"}
    spec = {"driver": "ocdbt", "base": base}
    return ts.KvStore.open(spec | ({"config": config} if config else {})).result()


def fill(folder: Path, **config: Any) -> Path:
    """Let tensorstore write CONTENT in *folder*, without compression unless *config* says so."""
    store = opened(folder, **{"compression": None, **config})
    transaction = ts.Transaction()
    for key, value in CONTENT.items():
        store.with_transaction(transaction)[key] = value
    transaction.commit_sync()
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    database = Database(folder)
    places = {key: database.place(value) for key, value in database.values.items()}
    return {key: bytes(file[at : at + n]) for key, (file, at, n) in places.items()}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"max_inline_value_bytes": 0},
        {"max_inline_value_bytes": 20, "max_decoded_node_bytes": 500},
        {"compression": {"id": "zstd"}},
        {"compression": {"id": "zstd"}, "max_decoded_node_bytes": 500},
    ],
    ids=["one node", "all outside", "many levels", "compressed", "compressed, many levels"],
)
def test_what_tensorstore_writes_is_read(config: dict[str, Any], tmp_path: Path) -> None:
    assert content_of(fill(tmp_path, **config)) == CONTENT


def test_the_latest_version_counts(tmp_path: Path) -> None:
    store = opened(fill(tmp_path))
    store["a000/key"] = b"new"
    del store["a001/key"]
    found = content_of(tmp_path)
    assert found["a000/key"] == b"new"
    assert "a001/key" not in found


def test_what_is_written_is_read_by_tensorstore(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    store = opened(tmp_path)
    keys = [key.decode() for key in store.list().result()]
    assert {key: bytes(store[key]) for key in keys} == CONTENT
    assert content_of(tmp_path) == CONTENT


def write(folder: Path, content: dict[str, bytes]) -> None:
    """Write *content*, every other value in the tree itself."""
    values, data = [], b""
    for number, (key, raw) in enumerate(sorted(content.items())):
        inline = raw if number % 2 else None
        values.append((key, Value("d/1", len(data), len(raw), inline)))
        data += raw if inline is None else b""
    node = encoded_leaf("d/1", values)
    (folder / "d").mkdir()
    (folder / "d" / "1").write_bytes(data + node)
    manifest = encoded_manifest("d/1", len(data), node, [value for _, value in values])
    (folder / MANIFEST).write_bytes(manifest)


def test_without_zstandard_a_compressed_database_is_left_to_tensorstore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path)["key"] = b"x" * 1000
    monkeypatch.setattr(zstd, "library", lambda: None)
    with pytest.raises(ForeignDatabase):
        Database(tmp_path)


def test_an_empty_database(tmp_path: Path) -> None:
    store = opened(tmp_path, compression=None)
    store["key"] = b"x"
    del store["key"]
    assert content_of(tmp_path) == {}


# --- bytes from outside -----------------------------------------------------------------------


def leaf(*parts: bytes, files: bytes = b"\0") -> bytes:
    return block(NODE_MAGIC, b"\0" + files + b"".join(parts))


def squeezed(body: bytes, after: bytes = b"") -> bytes:
    return block(NODE_MAGIC, zstandard.compress(body) + after, ZSTD)


ONE = (b"\1", b"\1", b"k")  # one entry, its key one byte long
NODES: dict[str, tuple[bytes, str]] = {
    # Unpacked, each of these would take all memory there is.
    "a bomb": (squeezed(bytes(100_000_000)), "claims to unpack to 100000000 bytes; 175"),
    "no frame": (block(NODE_MAGIC, b"(no", ZSTD), "is not a zstd frame of at most 1677"),
    "a frame and more": (squeezed(b"\0\0\0", b"x"), "is not a zstd frame of at most"),
    "no magic": (b"\0" * 40, "does not begin as one"),
    "short": (leaf(b"\0")[:12], "does not begin as one"),
    "length": (leaf(b"\0") + b"\0", "does not have the length that it says"),
    "checksum": (leaf(b"\0")[:-1] + b"\0", "the CRC-32C of the node at byte 0 of d/1 is wrong"),
    "height": (block(NODE_MAGIC, b"\1\0\0"), "is not 0 levels above the values"),
    "cut off": (leaf(b"\1", b"\x80"), "a number is cut off"),
    # Room made by the claim would take all memory there is.
    "a billion entries": (leaf(varint(10**9)), "claims 1000000000 entries"),
    "a billion files": (leaf(files=varint(10**9)), "claims 1000000000 entries"),
    "a file that is none": (leaf(*ONE, b"\1", b"\1", b"\3", b"\0"), "names file 3 of 0"),
    "value cut off": (leaf(*ONE, b"\5", b"\0"), "ends 5 bytes too early"),
    "shares too much": (leaf(b"\2", b"\5", b"\1\1", b"kk"), "has a key that cannot be"),
    "value beyond the file": (
        leaf(*ONE, b"\1", b"\1", b"\0", varint(9**9), files=encoded_files(["d/1"])),
        "1 bytes are to lie at byte 387420489 of d/1, which has",
    ),
    # Any file that this process may read would be shown as a tensor.
    "another folder": (
        leaf(*ONE, b"\1", b"\1", b"\0", b"\0", files=encoded_files(["../../etc/passwd"])),
        "names the file '../../etc/passwd' outside its own folder",
    ),
    "the root": (
        leaf(*ONE, b"\1", b"\1", b"\0", b"\0", files=encoded_files(["/etc/passwd"])),
        "names the file '/etc/passwd' outside its own folder",
    ),
}


def put(folder: Path, node: bytes, *, height: int = 0) -> None:
    """Make a database whose root is *node*."""
    (folder / "d").mkdir()
    (folder / "d" / "1").write_bytes(node)
    manifest = encoded_manifest("d/1", 0, node, [])
    at = manifest.index(b"\1\1\0\0") + 2  # one version, number 1, then its height
    body = manifest[HEADER:at] + bytes([height]) + manifest[at + 1 : -4]
    (folder / MANIFEST).write_bytes(block(MANIFEST_MAGIC, body))


@pytest.mark.parametrize("fault", NODES)
def test_a_broken_node(fault: str, tmp_path: Path) -> None:
    node, message = NODES[fault]
    put(tmp_path, node)
    with pytest.raises(CorruptCheckpoint, match=message):
        content_of(tmp_path)


def test_keys_that_unfold_without_end(tmp_path: Path) -> None:
    """Each key repeats the one before: 20 kB of node would become 600 MB of keys."""
    n = 10_000
    shared = varint(60_000) * (n - 1)
    put(tmp_path, leaf(varint(n), shared, varint(60_000), b"\0" * (n - 1), b"k" * 60_000))
    with pytest.raises(CorruptCheckpoint, match="has a key that cannot be"):
        Database(tmp_path)


def test_a_node_with_two_parents(tmp_path: Path) -> None:
    """Ten levels of nodes that name the next one ten times would be 10**10 visits."""
    child = leaf(b"\0")
    entries = [b"\1", encoded_files(["d/1"]), b"\2", b"\0", b"\1\1", b"\1\1", b"ab", b"\0\0"]
    root = block(NODE_MAGIC, b"".join([*entries, b"\0\0", varint(len(child)) * 2, bytes(6)]))
    put(tmp_path, root, height=1)
    (tmp_path / "d" / "1").write_bytes(root)
    with pytest.raises(CorruptCheckpoint, match="the node at byte 0 of d/1 has two parents"):
        Database(tmp_path)


def test_a_version_of_the_future() -> None:
    raw = block(NODE_MAGIC, b"\0")
    changed = raw[:12] + b"\1" + raw[13:-4]
    from warmstart.binary.checksum import crc32c

    with pytest.raises(CorruptCheckpoint, match="the node has version 1, where 0 is known"):
        Cursor.of_block(changed + crc32c(changed).to_bytes(4, "little"), NODE_MAGIC, "the node")


def test_a_data_file_that_is_missing(tmp_path: Path) -> None:
    write(tmp_path, CONTENT)
    (tmp_path / "d" / "1").unlink()
    with pytest.raises(CheckpointNotFound, match="the data file 'd/1' of the database is missing"):
        Database(tmp_path)


def test_manifests_of_the_numbered_kind_are_left_to_tensorstore() -> None:
    with pytest.raises(ForeignDatabase, match="stand in manifests of their own"):
        latest_root(Cursor(bytes(16) + b"\1\0\0\4\0", "the manifest"))


@given(st.binary(max_size=80))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    assert read_or_refused(body)


def read_or_refused(body: bytes) -> bool:
    """Return True; anything but CheckpointError that comes out of *body* fails the test."""
    for read in (lambda c: list(c.values(c.files(""), b"")), latest_root,
                 lambda c: list(c.children(c.files(""), b""))):  # fmt: skip
        try:
            read(Cursor(body, "the node"))
        except (CheckpointError, ForeignDatabase):
            continue
    return True
