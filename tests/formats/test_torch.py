"""PyTorch's files: the contract of reading for every form, and hostile files."""

import io
import pickle
import shutil
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.formats import torch as format_
from warmstart.formats.torch import stream
from warmstart.source import DictSource, Source
from warmstart.testing import ReadingContract

GOLDEN = Path(__file__).parents[1] / "golden/torch"


class TestZip(ReadingContract):
    format = format_
    checksummed = True

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "shards/a.bin", folder / "a.pt"))

    def petabyte(self, path: Path) -> None:
        # one number, expanded to a petabyte by strides of 0
        write_zip(path, tensor(shape=(2**50,), strides=(0,), elements=1), {"0": bytes(4)})


class TestModule(TestZip):
    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "module.pt", folder))


class TestStream(ReadingContract):
    format = format_

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "stream.pt", folder))

    def petabyte(self, path: Path) -> None:
        # a storage of a petabyte, of which nothing is there
        path.write_bytes(stream_of(tensor(elements=2**48), elements=2**48))


class TestTar(ReadingContract):
    format = format_

    def sample(self, folder: Path) -> Path:
        return Path(shutil.copy(GOLDEN / "tar.pt", folder))

    def petabyte(self, path: Path) -> None:
        # a tensor of as many dimensions as a small file could never list
        path.write_bytes(tar_of(tensors=dumped(1, (1, 1, None)) + struct.pack("<ii", 2**30, 0)))


class TestShards(ReadingContract):
    format = format_

    def sample(self, folder: Path) -> Path:
        shutil.copytree(GOLDEN / "shards", folder, dirs_exist_ok=True)
        return folder

    def petabyte(self, path: Path) -> None:
        TestZip().petabyte(path)


# --- files made by hand ---------------------------------------------------------------------------


class Name:
    """What a pickle of these tests imports."""

    def __init__(self, module: str, name: str) -> None:
        self.code = f"c{module}\n{name}\n".encode()


def emitted(value: Any) -> bytes:
    """Return opcodes that make *value*: plain, or a list ["call", name, args] or ["id", value]."""
    if isinstance(value, Name):
        return value.code
    if isinstance(value, tuple):
        return b"(" + b"".join(map(emitted, value)) + b"t"
    if isinstance(value, dict):
        return b"}(" + b"".join(emitted(k) + emitted(v) for k, v in value.items()) + b"u"
    if isinstance(value, list) and value[:1] == ["call"]:
        return emitted(value[1]) + emitted(value[2]) + b"R"
    if isinstance(value, list) and value[:1] == ["id"]:
        return emitted(value[1]) + b"Q"
    return pickle.dumps(value, 2)[2:-1].replace(b"q\0", b"")


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + emitted(value) + b"."


def tensor(
    shape: Any = (2,),
    strides: Any = (1,),
    *,
    offset: Any = 0,
    elements: Any = 2,
    cls: str = "FloatStorage",
    view: tuple[Any, ...] = (),
) -> list[Any]:
    """Return what makes a tensor, for `emitted`."""
    storage = ["id", ("storage", Name("torch", cls), "0", "cpu", elements, *view)]
    args = (storage, offset, shape, strides, False, {})
    return ["call", Name("torch._utils", "_rebuild_tensor_v2"), args]


def write_zip(
    path: Path, value: Any, storages: dict[str, bytes], *, raw: bytes | None = None, **more: bytes
) -> Path:
    """Write an archive of *value* ("w": one tensor) with its *storages* and other members."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", raw if raw is not None else pickled({"w": value}))
        for name, data in more.items():
            archive.writestr(f"m/{name}", data)
        for key, data in storages.items():
            archive.writestr(f"m/data/{key}", data)
    return path


def stream_of(value: Any, *, elements: int = 2, data: bytes = b"", keys: Any = ("0",)) -> bytes:
    """Return a file of the form before PyTorch 1.6."""
    value = [*value[:2], (["id", (*value[2][0][1], None)], *value[2][1:])]
    parts = [stream.MAGIC, stream.PROTOCOL, {"little_endian": True}]
    head = b"".join(pickle.dumps(part, 2) for part in parts)
    return (
        head
        + pickled({"w": value})
        + pickle.dumps(list(keys) if isinstance(keys, tuple) else keys, 2)
        + struct.pack("<q", elements)
        + data
    )


def dumped(*values: Any) -> bytes:
    return b"".join(pickle.dumps(value, 2) for value in values)


def tar_of(
    *, storages: bytes | None = None, tensors: bytes | None = None, value: bytes | None = None
) -> bytes:
    """Return a file of the form of PyTorch 0.1, whose parts are sound unless given."""
    one = dumped(1) + pickled((1, "cpu", Name("torch", "FloatStorage")))
    whole = one + struct.pack("<q2f", 2, 1, 2) + dumped([])
    rank = dumped(1, (2, 1, None)) + struct.pack("<ii3q", 1, 0, 2, 1, 0)
    parts = {
        "storages": whole if storages is None else storages,
        "tensors": rank if tensors is None else tensors,
        "pickle": pickled({"w": ["id", 2]}) if value is None else value,
    }
    return tar_with(parts)


def tar_with(parts: dict[str, bytes]) -> bytes:
    """Return a tar archive of *parts*."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:") as tar:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return archive.getvalue()


def opened(path: Path, **options: Any) -> Source:
    found = format_.locate(path)
    assert found is not None
    return format_.open_source(found, verify=True, **options)


def test_the_files_made_by_hand_are_sound(tmp_path: Path) -> None:
    two = struct.pack("<2f", 1, 2)
    write_zip(tmp_path / "zip.pt", tensor(), {"0": two})
    (tmp_path / "stream.pt").write_bytes(stream_of(tensor(), data=two))
    (tmp_path / "tar.pt").write_bytes(tar_of())
    found = [opened(path).read("w").tolist() for path in sorted(tmp_path.iterdir())]
    assert found == [[1, 2]] * 3


# --- attacks --------------------------------------------------------------------------------------


def test_no_code_is_run(tmp_path: Path) -> None:
    # torch.load(weights_only=False) would call os.system
    sentinel = tmp_path / "sentinel"
    value = ["call", Name("os", "system"), (f"touch {sentinel}",)]
    with opened(write_zip(tmp_path / "m.pt", value, {})) as source:
        assert source.metadata["w"] == f'{{"__class__": "os.system", "args": ["touch {sentinel}"]}}'
    assert not sentinel.exists()


def test_a_byte_expanded_to_a_petabyte_is_listed_and_not_read(tmp_path: Path) -> None:
    TestZip().petabyte(tmp_path / "m.pt")
    with opened(tmp_path / "m.pt") as source:
        assert source.specs["w"].shape == (2**50,)
        message = "'w' shares a storage of which tensors of 4503599627370496 bytes in all are made"
        for use in (lambda: source.check(["w"]), lambda: source.read("w")):
            with pytest.raises(CorruptCheckpoint, match=message):
                use()


def test_many_tensors_of_one_storage_are_bounded_together(tmp_path: Path) -> None:
    # 2,000 views of one storage of 1 MB: two gigabytes out of one megabyte
    row = {f"w{n}": tensor((2**18 - n,), elements=2**18) for n in range(2000)}
    path = write_zip(tmp_path / "m.pt", None, {"0": bytes(2**20)}, raw=pickled(row))
    with opened(path) as source, pytest.raises(CorruptCheckpoint, match="shares a storage"):
        source.read("w7")


def test_an_expanded_tensor_of_a_sensible_size_is_read(tmp_path: Path) -> None:
    value = tensor((3, 2), (0, 1))
    with opened(write_zip(tmp_path / "m.pt", value, {"0": struct.pack("<2f", 1, 2)})) as source:
        assert source.read("w").tolist() == [[1, 2]] * 3
        assert source.read_slice("w", (slice(1, None), 1)).tolist() == [2, 2]


def test_a_pickle_deflated_to_a_thousandth(tmp_path: Path) -> None:
    # 20 MB of nothing in 20 kB, and each byte of it could become 200
    with zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + b"0" * 20_000_000)
    with pytest.raises(UnsupportedCheckpoint, match=r"bytes unpack to 20000002, more than \d+"):
        opened(tmp_path / "m.pt")


def test_an_archive_that_was_deflated_is_read(tmp_path: Path) -> None:
    new = zipfile.ZipFile(tmp_path / "m.pt", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(GOLDEN / "checkpoint.pt") as old, new as archive:
        for name in old.namelist():
            archive.writestr(name, old.read(name))
    with opened(tmp_path / "m.pt") as source, opened(GOLDEN / "checkpoint.pt") as whole:
        for name, array in whole.read_all().items():
            assert np.array_equal(source.read(name), array)


def test_containers_that_unfold_without_end(tmp_path: Path) -> None:
    # lists of two lists of two lists ... sixty deep: 2**60 names
    raw = b"\x80\x02]K\x01aq\x000" + b"](h\x00h\x00eq\x000" * 60 + b"h\x00."
    with pytest.raises(CorruptCheckpoint, match="unfold to more than"):
        opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw))


def test_a_long_key_above_many_values(tmp_path: Path) -> None:
    # a key of 60,000 characters, and 100,000 values under it: 6 GB of names out of 360 kB
    key = b"X" + struct.pack("<I", 60_000) + b"k" * 60_000
    raw = b"\x80\x02}" + key + b"](" + b"K\x01" * 100_000 + b"es."
    with pytest.raises(CorruptCheckpoint, match=r"the names of \d+ values take more than \d+"):
        opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw))


def test_modules_that_unfold_without_end(tmp_path: Path) -> None:
    # a module of twice the same module of twice the same ...: 2**50 state dicts
    empty = b"}(X\x0b\0\0\0_parameters}X\x08\0\0\0_buffers}X\x08\0\0\0_modules"
    module = b"cm\nM\n)\x81" + empty + b"}(X\1\0\0\0ah\x00X\1\0\0\0bh\x00uubq\x000"
    raw = b"\x80\x02cm\nM\n)\x81" + empty + b"}ubq\x000" + module * 50 + b"h\x00."
    with pytest.raises(CorruptCheckpoint, match="the modules unfold to more than"):
        opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw))


def test_an_object_in_itself(tmp_path: Path) -> None:
    # x.me = x: whoever follows it never ends
    raw = b"\x80\x02cm\nX\n)\x81q\x00}X\2\0\0\0meh\x00sb."
    with opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw)) as source:
        assert source.metadata["m"] == '{"__class__": "m.X", "me": "(a m.X again)"}'


def test_objects_very_deep_in_one_another(tmp_path: Path) -> None:
    # 5,000 objects, each the argument of the next: a recursion would end in Python's limit
    raw = b"\x80\x02" + b"cm\nX\n" * 5000 + b")" + b"\x81\x85" * 5000 + b"0N."
    with opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw)) as source:
        assert source.metadata["m"] == "null"
    raw = raw.replace(b"0N.", b".")
    with opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw)) as source:
        assert len(source.metadata["0"]) < 10_000


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", None, {}, raw=b"\x80\x02" + b"]" * 50_000 + b".")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            opened(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


# --- what is said ---------------------------------------------------------------------------------

TWO = struct.pack("<2f", 1, 2)

ZIP_MESSAGES: dict[str, Any] = {
    r"goes up to byte 12 of the storage 'data/0', which has 8": tensor((3,)),
    r"goes up to byte 12 of the storage 'data/0', which": tensor(offset=1),
    r"the storage 'data/0' has 12 bytes, but its member 8": tensor((3,), elements=3),
    r"a tensor has the shape \(2,\) and the strides \(1, 1\)": tensor(strides=(1, 1)),
    r"a tensor has a tuple for its shape, not whole numbers": tensor((-2,)),
    r"a tensor has a tuple for its offset": tensor(offset=-1),
    r"a tensor has 5 for its strides": tensor(strides=5),
    r"a storage is of the class torch\.OddStorage": tensor(cls="OddStorage"),
    r"a storage has the key '0' and None elements": tensor(elements=None),
    r"a tensor is a view of None, not of a storage": [
        "call", Name("torch._utils", "_rebuild_tensor_v2"), (None, 0, (2,), (1,), False, {}),
    ],
    r"the pickle refers to 5, which is no storage": ["id", 5],
    r"a tensor has the dtype 'x', which is not known": [
        "call",
        Name("torch._utils", "_rebuild_meta_tensor_no_storage"),
        ("x", (2,), (1,), False),
    ],
    r"a sparse tensor has the layout 'odd', which is not known": [
        "call", Name("torch._utils", "_rebuild_sparse_tensor"), ("odd", ()),
    ],
    r"a quantised tensor does not say how it is quantised": [
        "call",
        Name("torch._utils", "_rebuild_qtensor"),
        (*tensor()[2][:4], None, False, {}),
    ],
    r"a tensor is made from None, not from an array": [
        "call", Name("torch._utils", "_rebuild_device_tensor_from_numpy"), (None, 0, 0, False),
    ],
}  # fmt: skip


@pytest.mark.parametrize("message", ZIP_MESSAGES)
def test_what_is_said_of_a_broken_archive(message: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", ZIP_MESSAGES[message], {"0": TWO})
    with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint), match=message):
        opened(path)


def test_a_storage_that_is_not_there(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", tensor(), {})
    with pytest.raises(CorruptCheckpoint, match=r"the archive has no member 'm/data/0'"):
        opened(path)


def test_a_changed_byte_of_a_storage(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", tensor(), {"0": TWO})
    path.write_bytes(path.read_bytes().replace(TWO, bytes(8)))
    with opened(path) as source, pytest.raises(CorruptCheckpoint, match="its CRC-32 is not that"):
        source.read("w")


def test_an_odd_byte_order(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "m.pt", tensor(), {"0": TWO}, byteorder=b"middle")
    with pytest.raises(CorruptCheckpoint, match="the byte order is b'middle', neither"):
        opened(path)


def test_members_that_are_there_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", pickled({}))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("m/data.pkl", pickled({}))
    with pytest.raises(CorruptCheckpoint, match="1 members are there twice"):
        opened(tmp_path / "m.pt")


def test_a_zip_archive_without_a_pickle_is_not_claimed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.bin", "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert format_.locate(tmp_path / "m.bin") is None
    with pytest.raises(CorruptCheckpoint, match=r"the archive has no member data\.pkl"):
        format_.open_source(tmp_path / "m.bin", verify=True)


def test_a_file_of_none_of_the_forms(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"text")
    with pytest.raises(CorruptCheckpoint, match=r"the file begins b'text', as neither a zip"):
        opened(tmp_path / "m.pt")


STREAM_MESSAGES: dict[str, Callable[[], bytes]] = {
    r"the file is of protocol 1002 of torch\.save; 1001 is known": lambda: stream_of(
        tensor()
    ).replace(struct.pack("<H", 1001), struct.pack("<H", 1002)),
    r"the pickle after the value is not the list of storages": lambda: stream_of(tensor(), keys=5),
    r"the storage 'x' is listed, and no tensor is in it": lambda: stream_of(tensor(), keys=("x",)),
    r"storages that are not there: '0'": lambda: stream_of(tensor(), keys=()),
    r"the storage '0' at byte \d+ has 3 elements, where its tensors have 8 bytes": lambda: (
        stream_of(tensor(), elements=3, data=TWO)
    ),
    r"the pickle refers to a tuple, which is no storage": lambda: stream_of(tensor(view=(1, 2))),
}


@pytest.mark.parametrize("message", STREAM_MESSAGES)
def test_what_is_said_of_a_broken_stream(message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(STREAM_MESSAGES[message]())
    with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint), match=message):
        opened(tmp_path / "m.pt")


def stream_with_view(view: Any) -> bytes:
    """Return a stream whose tensor is in a part of its storage."""
    whole = stream_of(tensor((1,), elements=2), data=TWO)
    return whole.replace(b"K\x02Nt", b"K\x02" + emitted(view) + b"t")


def test_a_part_of_a_storage(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(stream_with_view(("7", 1, 1)))
    assert opened(tmp_path / "m.pt").read("w").tolist() == [2]


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (("7", 1, 2), r"a part of the storage '0' ends at byte 12 of 8"),
        (("7", -1, 2), r"a part of the storage '0' is not given by two numbers"),
    ],
)
def test_what_is_said_of_a_broken_part(view: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(stream_with_view(view))
    with pytest.raises(CorruptCheckpoint, match=message):
        opened(tmp_path / "m.pt")


def test_bytes_that_nothing_accounts_for(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(stream_of(tensor(), data=TWO) + b"more")
    (run,) = opened(tmp_path / "m.pt").unclaimed() or ()
    assert run.endswith("which begin b'more'")


ONE = dumped(1) + pickled((1, "cpu", Name("torch", "FloatStorage")))

TAR_MESSAGES: dict[str, Callable[[], bytes]] = {
    r"the storage '1' has 8 bytes; 4 are left": lambda: tar_of(
        storages=ONE + struct.pack("<qf", 2, 1)
    ),
    r"an entry is None, not a key and two values": lambda: tar_of(storages=dumped(1, None)),
    r"there are -1 entries": lambda: tar_of(storages=dumped(-1)),
    r"the parts of storages are 5, not a list of fours": lambda: tar_of(
        storages=ONE + struct.pack("<q2f", 2, 1, 2) + dumped(5)
    ),
    r"there is no storage and no tensor 9": lambda: tar_of(
        tensors=dumped(1, (2, 9, None)) + struct.pack("<ii3q", 1, 0, 2, 1, 0)
    ),
    r"the tensor 2 has 9 dimensions": lambda: tar_of(
        tensors=dumped(1, (2, 1, None)) + struct.pack("<ii", 9, 0)
    ),
    r"the tensor 2 is cut short": lambda: tar_of(tensors=dumped(1, (2, 1, None))),
    r"there is no storage and no tensor 3": lambda: tar_of(value=pickled(["id", 3])),
    r"the tar archive has 512 bytes, not a multiple of 10240": lambda: tar_of()[:512],
    r"the tar archive lacks storages, tensors": lambda: tar_with({"pickle": pickled(1)}),
    r"the tar archive has no header at byte 512": lambda: (
        tar_with({"pickle": b""})[:512] + b"x" * 9728
    ),
    r"'pickle' in the tar archive claims 1000000 bytes": lambda: tar_with({"pickle": bytes(10**6)})[
        :10240
    ],
}


@pytest.mark.parametrize("message", TAR_MESSAGES)
def test_what_is_said_of_a_broken_tar(message: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(TAR_MESSAGES[message]())
    with pytest.raises(CorruptCheckpoint, match=message):
        opened(tmp_path / "m.pt")


def test_a_tensor_without_values(tmp_path: Path) -> None:
    dtype = Name("torch", "float32")
    args = (dtype, (2,), (1,), False)
    value = ["call", Name("torch._utils", "_rebuild_meta_tensor_no_storage"), args]
    with opened(write_zip(tmp_path / "m.pt", value, {})) as source:
        assert source.stored == {"w": "meta float32 (2,)"}
        with pytest.raises(UnsupportedCheckpoint, match="has no values: it was saved from the dev"):
            source.read("w")


@pytest.mark.parametrize("size", [b"-1000", b"9999xyz", b"\xff" * 12])
def test_a_size_in_a_tar_archive_that_is_none(size: bytes, tmp_path: Path) -> None:
    # A negative one leads back to its own header, for ever.
    raw = bytearray(tar_of())
    raw[124:136] = size.ljust(12, b"\0")
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 0x20 + sum(raw[156:512]))
    (tmp_path / "m.pt").write_bytes(raw)
    with pytest.raises(CorruptCheckpoint, match=r"has .* bytes, not a number"):
        opened(tmp_path / "m.pt")


def test_calls_of_what_calls_make(tmp_path: Path) -> None:
    # Each would be named after the one before it: RecursionError.
    raw = b"\x80\x02cx\ny\n" + b")R" * 5000 + b"."
    source = opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw))
    assert source.metadata["m"] == '{"__class__": "what Call makes"}'


def test_one_long_text_as_many_values(tmp_path: Path) -> None:
    # 100 kB shown 50,000 times are 5 GB.
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    raw = b"\x80\x02" + text + b"q\x000(" + b"h\x00" * 50_000 + b"l."
    source = opened(write_zip(tmp_path / "m.pt", None, {}, raw=raw))
    assert sum(map(len, source.metadata.values())) < 10_000_000
    assert source.metadata["0"] == '"' + "a" * 100_000 + '"'
    assert (source.metadata["49999"], "torch.tree" in source.metadata) == ('"..."', False)


def test_a_tensor_without_a_name_beside_others(tmp_path: Path) -> None:
    format_.save_source(DictSource({"": np.ones(2), "a": np.zeros(1)}), tmp_path / "m.pt")
    assert [*opened(tmp_path / "m.pt").specs] == ["", "a"]
