"""Bytes of a file by place, mapped and read."""

import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from warmstart import CheckpointError, CheckpointNotFound, CorruptCheckpoint
from warmstart.binary.window import LARGE, PlainFile, file_bytes


@pytest.fixture(params=[True, False], ids=["mapped", "plain"])
def mmap(request):
    return request.param


@pytest.fixture
def content(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    return data


def test_slices_are_those_of_the_content(mmap, content, tmp_path):
    file = file_bytes(tmp_path / "f", mmap=mmap)
    assert len(file) == len(content)
    for part in [slice(0, 8), slice(3, 70_000), slice(-48, None), slice(5, 2), slice(None)]:
        assert bytes(file[part]) == content[part]
    past = slice(len(content) - 4, len(content) + 100)
    assert bytes(file[past]) == content[past]


def test_an_empty_file(mmap, tmp_path):
    (tmp_path / "f").write_bytes(b"")
    file = file_bytes(tmp_path / "f", mmap=mmap)
    assert (len(file), bytes(file[:8])) == (0, b"")


def test_a_large_slice_is_read_by_several_threads(tmp_path):
    data = os.urandom(LARGE + 12345)
    (tmp_path / "f").write_bytes(data)
    assert PlainFile(tmp_path / "f")[7:] == data[7:]


def test_a_file_that_is_replaced_stays_readable(mmap, content, tmp_path):
    file = file_bytes(tmp_path / "f", mmap=mmap)
    (tmp_path / "g").write_bytes(b"other")
    os.replace(tmp_path / "g", tmp_path / "f")
    assert bytes(file[:]) == content


def test_a_file_that_is_not_there(mmap, tmp_path):
    with pytest.raises(CheckpointNotFound, match="absent is not there"):
        file_bytes(tmp_path / "absent", mmap=mmap)


def test_a_folder_or_a_pipe_is_refused(mmap, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="pipe cannot be read: it is no regular file"):
        file_bytes(tmp_path / "pipe", mmap=mmap)


def test_a_file_cut_short_while_it_is_read(content, tmp_path):
    file = PlainFile(tmp_path / "f")
    os.truncate(tmp_path / "f", 1000)
    with pytest.raises(CorruptCheckpoint, match="f ends at byte 1000; it had 1280000 when opened"):
        file[:]


def test_threads_that_read_at_once_get_their_own_bytes(tmp_path):
    # What one thread had looked up was what another had just read.
    content = random.Random(0).randbytes(4 << 20)
    (tmp_path / "f").write_bytes(content)
    file = file_bytes(tmp_path / "f", mmap=False)

    def wrong(seed):
        places = random.Random(seed).choices(range(len(content) - 4000), k=3000)
        return [at for at in places if file[at : at + 4000] != content[at : at + 4000]]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(wrong, range(4))) == [[]] * 4
    finally:
        sys.setswitchinterval(before)
