"""Bundles of several data files, each written on its own: pieces of tensors, and shared files."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.boxes import Box
from warmstart.errors import SaveError
from warmstart.formats import tf_bundle
from warmstart.formats.tf_bundle import commit as steps
from warmstart.formats.tf_bundle.commit import commit, free_count, share_shard
from warmstart.formats.tf_bundle.entries import merged, piece_key, whole_entry, with_aliases
from warmstart.formats.tf_bundle.paths import data_of
from warmstart.formats.tf_bundle.reader import BundleSource
from warmstart.formats.tf_bundle.writer import write_shard
from warmstart.source import DictSource

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4)
MANY = np.arange(40, dtype=np.int64).reshape(20, 2)

#: Which part of ROWS each of three processes has: two share the columns of the upper half.
BOXES: list[Box] = [
    (slice(0, 3), slice(0, 1)),
    (slice(0, 3), slice(1, 4)),
    (slice(3, 6), slice(0, 4)),
]


def shard_of(prefix: Path, shard: int, box: Box) -> Mapping[bytes, bytes]:
    """Write what one process has: its piece of ROWS, and many small tensors of its own."""
    own = {f"own{shard}/{i}": MANY[i] for i in range(len(MANY))}
    keys = {name: name.encode() for name in own} | {"w": piece_key("w", box, ROWS.shape)}
    source = DictSource({**own, "w": ROWS[box]})
    entries = write_shard(source, data_of(prefix, shard, 3), keys, shard=shard)
    return {**entries, b"w": whole_entry("float32", ROWS.shape, [box])}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A bundle that three processes wrote together, with a tied name."""
    prefix = tmp_path / "m"
    parts = [shard_of(prefix, shard, box) for shard, box in enumerate(BOXES)]
    commit(prefix, 3, with_aliases(merged(parts), {"tied": "w"}))
    return prefix


def test_pieces_of_several_processes_are_read_as_one_tensor(prefix: Path) -> None:
    with BundleSource(prefix, verify=True) as source:
        found = source.read_all()
        assert list(source.unclaimed()) == []
    for name in ("w", "tied"):
        np.testing.assert_array_equal(found[name], ROWS, strict=True)
    for shard in range(3):
        np.testing.assert_array_equal(found[f"own{shard}/7"], MANY[7], strict=True)


def test_tensorflow_reads_the_pieces(prefix: Path) -> None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    for name in ("w", "tied"):
        np.testing.assert_array_equal(reader.get_tensor(name), ROWS, strict=True)
    np.testing.assert_array_equal(reader.get_tensor("own2/19"), MANY[19], strict=True)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        half = tf.raw_ops.RestoreV2(
            prefix=str(prefix),
            tensor_names=["w"],
            shape_and_slices=["6 4 2,3:0,4"],
            dtypes=[tf.float32],
        )
        np.testing.assert_array_equal(session.run(half)[0], ROWS[2:5])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "two data files of one bundle both hold:\n  'a'\n  'b'"),
        (["c"], "two data files of one bundle both hold:\n  'c'"),
    ],
)
def test_what_two_data_files_hold_is_refused(names: list[str], message: str) -> None:
    part = {name.encode(): whole_entry("float32", (2,), []) for name in names}
    with pytest.raises(SaveError) as caught:
        merged([part, part])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (BOXES[:2], "'w': its 2 pieces leave 12 of 24 elements without a value"),
        ([(slice(0, 7), slice(0, 4))], r"'w': a slice starts at \(0, 0\) and is \(7, -1\) long"),
    ],
)
def test_pieces_that_do_not_make_the_whole(boxes: list[Box], message: str) -> None:
    parts = [{b"w": whole_entry("float32", (6, 4), [box])} for box in boxes]
    with pytest.raises(SaveError, match=f"not all pieces were written of:\n  {message}"):
        merged(parts)


def test_a_count_of_shards_that_is_needed() -> None:
    assert free_count([], 3) == 3
    assert free_count([(0, 3), (1, 3), (0, 1)], 3) == 4


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A checkpoint whose data file another one is to share."""
    tf_bundle.save_source(DictSource({"w": ROWS, "frozen": MANY}), tmp_path / "old")
    return tmp_path / "old"


def shared(old: Path, prefix: Path) -> Any:
    """Save a new checkpoint that has `frozen` from the data file of *old*; return its values."""
    with BundleSource(old, verify=True) as before:
        kept = {b"frozen": before._index._table.get(b"frozen")}
    share_shard(data_of(old, 0, 1), prefix, 0, 2)
    source = DictSource({"w": -ROWS})
    written = write_shard(source, data_of(prefix, 1, 2), {"w": b"w"}, shard=1)
    commit(prefix, 2, merged([kept, written]))
    for file in old.parent.glob("old.*"):
        file.unlink()
    with BundleSource(prefix, verify=True) as source:
        return source.read_all()


def test_a_shared_data_file_outlives_the_other_checkpoint(old: Path) -> None:
    inode = data_of(old, 0, 1).stat().st_ino
    new = old.with_name("new")
    found = shared(old, new)
    np.testing.assert_array_equal(found["w"], -ROWS)
    np.testing.assert_array_equal(found["frozen"], MANY)
    assert data_of(new, 0, 2).stat().st_ino == inode


@pytest.mark.parametrize("number", [errno.EPERM, errno.EXDEV, errno.EMLINK])
def test_without_hard_links_a_data_file_is_copied(
    number: int, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, path: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(steps, "PIECE", 100)
    np.testing.assert_array_equal(shared(old, old.with_name("new"))["frozen"], MANY)


def test_a_data_file_that_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(SaveError, match="was not written: No such file or directory"):
        share_shard(tmp_path / "gone", tmp_path / "m", 0, 2)


def test_a_link_to_a_data_file_is_followed(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(data_of(old, 0, 1))
    share_shard(link, tmp_path / "m", 0, 2)
    assert not data_of(tmp_path / "m", 0, 2).is_symlink()
