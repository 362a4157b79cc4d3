"""Distributed checkpoints made to harm: what each would have done stands beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.binary.pickle import Call, Global
from warmstart.binary.pickling import New, Persistent, dumps
from warmstart.binary.stream import Stream
from warmstart.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.formats import dcp
from warmstart.formats.dcp import writing
from warmstart.formats.dcp.metadata import Place, read_metadata
from warmstart.formats.dcp.reading import NOTE
from warmstart.formats.dcp.tiling import refuse_bad_tiling
from warmstart.formats.torch.archive import TorchArchive
from warmstart.formats.torch.writing import tensor as torch_tensor
from warmstart.source import DictSource
from warmstart.spec import TensorSpec

SPEC = TensorSpec("w", "float32", (4,))
WHOLE = [((0,), (4,))]
FILE = "__0_0.distcp"


def size(*numbers: Any) -> Call:
    return Call(Global("torch", "Size"), (numbers,))


def tensor(boxes: list[Any], shape: Any = (4,), dtype: str = "float32") -> New:
    chunks = [
        New(writing.CHUNK, state={"offsets": size(*offsets), "sizes": size(*sizes)})
        for offsets, sizes in boxes
    ]
    state = {"properties": writing.properties(dtype), "size": size(*shape), "chunks": chunks}
    return New(writing.TENSOR, state=state)


def metadata(items: Any = None, stored: Any = None) -> bytes:
    """Return the pickle of one tensor "w" in one chunk, but for what is given."""
    items = {"w": tensor(WHOLE)} if items is None else items
    stored = {writing.index_of("w", (0,)): info()} if stored is None else stored
    return dumps(New(writing.ALL, state={"state_dict_metadata": items, "storage_data": stored}))


def info(file: Any = FILE, offset: Any = 0, length: Any = 10, **more: Any) -> New:
    state = {"relative_path": file, "offset": offset, "length": length, **more}
    return New(writing.INFO, state=state)


def refuse(data: bytes, match: str, kind: type[CheckpointError] = CorruptCheckpoint) -> None:
    with pytest.raises(kind, match=match):
        read_metadata(data)


def test_what_the_others_are_variants_of() -> None:
    contents = read_metadata(metadata())
    assert contents.specs == {"w": SPEC}
    assert [chunk.place for chunk in contents.chunks["w"]] == [Place(FILE, 0, 10)]


def test_a_pickle_that_runs_a_program() -> None:
    """PyTorch reads `.metadata` by Python's own pickle: this would have deleted the home folder."""
    bomb = Call(Global("os", "system"), ("rm -rf ~",))
    refuse(dumps(bomb), r"where the metadata should have a Metadata stands an object of os\.system")
    refuse(metadata(items={"w": bomb}), r"has no place|BytesStorageMetadata stands an object of os")


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "a/../../b", "..\\b", "", "a\0b"])
def test_data_outside_the_folder(file: str) -> None:
    """It would have read any file of whoever looks at the checkpoint, and shown it as weights."""
    stored = {writing.index_of("w", (0,)): info(file)}
    refuse(metadata(stored=stored), "the index names 1 shards outside its own folder")


def test_a_petabyte() -> None:
    """It would have asked for all memory there is before the first byte was read."""
    items = {"w": tensor([((0,), (2**50,))], (2**62,))}
    refuse(metadata(items=items), "would take|chunks hold")


@pytest.mark.parametrize(
    ("boxes", "fault"),
    [
        ([((0,), (3,))], "1 chunks hold 3 of the 4 values"),
        ([((0,), (3,)), ((2,), (2,))], "two of 2 chunks overlap"),
        ([((0,), (5,))], "does not lie in"),
        ([((-1,), (4,))], "an item is indexed by"),
        ([((0, 0), (2, 2))], "does not lie in"),
        ([], "0 chunks hold 0 of the 4 values"),
    ],
)
def test_chunks_that_do_not_make_up_a_tensor(boxes: list[Any], fault: str) -> None:
    """A hole would have been memory of the process, shown as weights."""
    stored = {
        writing.index_of("w", offsets): info(offset=10 * n) for n, (offsets, _) in enumerate(boxes)
    }
    refuse(metadata({"w": tensor(boxes)}, stored), fault)


def test_chunks_that_take_for_ever_to_check() -> None:
    """Columns cut each at another height draw n * n cells: hours for a file of a few MB."""
    n = 3000
    upper = [((0, i), (i + 1, 1)) for i in range(n)]
    lower = [((i + 1, i), (n - i, 1)) for i in range(n)]
    with pytest.raises(
        UnsupportedCheckpoint, match="'w' is cut into 6000 chunks along so many diff"
    ):
        refuse_bad_tiling({"w": ((n + 1, n), [*upper, *lower])})


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.lists(st.integers(1, 3), max_size=4))
def test_every_grid_tiles_and_without_a_part_does_not(rows: list[int], columns: list[int]) -> None:
    columns = columns or [2]
    shape = (sum(rows), sum(columns))
    boxes = [
        ((sum(rows[:i]), sum(columns[:j])), (height, width))
        for i, height in enumerate(rows)
        for j, width in enumerate(columns)
    ]
    refuse_bad_tiling({"w": (shape, [*boxes, (shape, (0, 0))])})
    with pytest.raises(CorruptCheckpoint, match="chunks do not make up their tensors"):
        refuse_bad_tiling({"w": (shape, boxes[1:])})
    with pytest.raises(CorruptCheckpoint, match="overlap"):
        refuse_bad_tiling({"w": (shape, [*boxes, boxes[0]])})


def test_one_place_for_many_tensors(tmp_path: Path) -> None:
    """A file of a few bytes would have filled the memory of whoever reads it all plainly."""
    path = tmp_path / "m.dcp"
    dcp.save_source(DictSource({"w": np.zeros(4, np.float32)}), path)
    place = info(length=(path / FILE).stat().st_size)
    names = ("v", "w")
    stored = {writing.index_of(name, (0,)): place for name in names}
    (path / ".metadata").write_bytes(metadata(dict.fromkeys(names, tensor(WHOLE)), stored))
    with pytest.raises(
        CorruptCheckpoint, match=r"'w' begins at byte 0 of .*, inside the item before"
    ):
        dcp.open_source(path, verify=True)


def test_an_item_beyond_its_file(tmp_path: Path) -> None:
    """It would have read what lies in memory behind the map, or crashed."""
    (tmp_path / FILE).write_bytes(b"short")
    (tmp_path / ".metadata").write_bytes(metadata())
    with pytest.raises(
        CorruptCheckpoint, match=r"'w' lies at bytes 0 to 10 of .*, which has 5: it was"
    ):
        dcp.open_source(tmp_path, verify=True)


def test_a_chunk_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "m.dcp"
    dcp.save_source(DictSource({"w": np.zeros(4, np.float32)}), path)
    stored = {writing.index_of("w", (0,)): info(length=(path / FILE).stat().st_size)}
    items = {"w": tensor([((0,), (9,))], (9,))}
    (path / ".metadata").write_bytes(metadata(items, stored))
    with (
        dcp.open_source(path, verify=True) as source,
        pytest.raises(
            CorruptCheckpoint,
            match=r"the chunk holds float32 \(4,\); the metadata say float32 \(9,\)",
        ),
    ):
        source.read("w")


def folder_with(value: Any, folder: Path, name: str = "w", *, storage: bytes = b"") -> Path:
    """Return a checkpoint whose item *name* holds the pickle of *value*."""
    path = folder / "m.dcp"
    dcp.save_source(DictSource({"w": np.zeros(4, np.float32)}, metadata={"a": "b"}), path)
    contents = read_metadata((path / ".metadata").read_bytes())
    places = dict(contents.places())
    with (path / FILE).open("ab", buffering=0) as file:
        stream = Stream(file)
        stream.position = begin = (path / FILE).stat().st_size
        archive = TorchArchive(stream, dumps(value))
        archive.add_storage(storage)
        archive.finish()
        stream.flush()
        places[name] = Place(FILE, begin, stream.position)
    stored = {
        writing.index_of(key, (0,) if key == "w" else None): info(
            place.file, place.begin, place.end - place.begin
        )
        for key, place in places.items()
    }
    items = {"w": tensor(WHOLE), NOTE: New(writing.VALUE)}
    (path / ".metadata").write_bytes(metadata(items, stored))
    return path


def test_a_chunk_that_is_no_tensor(tmp_path: Path) -> None:
    path = folder_with("text", tmp_path)
    with (
        dcp.open_source(path, verify=True) as source,
        pytest.raises(CorruptCheckpoint, match='it holds no tensor but "text"'),
    ):
        source.read("w")


def test_a_storage_that_is_short(tmp_path: Path) -> None:
    """Its tensor would have shown what lies in the file behind it."""
    found = torch_tensor(TensorSpec("w", "float32", (4,)), 0)
    path = folder_with(found, tmp_path, storage=b"four")
    with (
        dcp.open_source(path, verify=True) as source,
        pytest.raises(CorruptCheckpoint, match="its storage has 4 bytes, where 16 are expected"),
    ):
        source.read("w")


def test_a_storage_that_is_none(tmp_path: Path) -> None:
    path = folder_with(Persistent(("module", 1)), tmp_path)
    with (
        dcp.open_source(path, verify=True) as source,
        pytest.raises(CorruptCheckpoint, match=r'refers to \["module", 1\], which is no storage'),
    ):
        source.read("w")


def test_a_note_that_is_none(tmp_path: Path) -> None:
    path = folder_with(3, tmp_path, NOTE)
    with pytest.raises(CorruptCheckpoint, match="the item '_RUN/state' is no note of this library"):
        dcp.open_source(path, verify=True)


def test_an_alias_that_is_a_tensor_of_its_own(tmp_path: Path) -> None:
    """One of two tensors would have been hidden behind the other."""
    path = tmp_path / "m.dcp"
    arrays = {"v": np.zeros(4, np.float32), "w": np.ones(4, np.float32)}
    dcp.save_source(DictSource(arrays, metadata={"aliases": "text"}), path)
    whole = (path / FILE).read_bytes()
    old, new = b'{"metadata": {"aliases": "text"}', b'{"aliases": {"v": "w"}          '
    assert whole.count(old) == 1
    (path / FILE).write_bytes(whole.replace(old, new))
    with pytest.raises(
        CorruptCheckpoint, match="the note has aliases that are tensors of their own"
    ):
        dcp.open_source(path, verify=False)


def strange(**state: Any) -> New:
    return New(writing.INDEX, state=state)


VARIANTS = {
    "no dict of items": (metadata(items=[1]), "the metadata have no dict state_dict_metadata"),
    "no dict of places": (
        metadata(stored=3),
        "the metadata have no dict storage_data; found is a in",
    ),
    "a key without name": (metadata(stored={strange(fqn=3): info()}), "an item is indexed by"),
    "a key that is none": (
        metadata(stored={"w": info()}),
        "should have a MetadataIndex stands a str",
    ),
    "a place twice": (
        metadata(
            stored={writing.index_of("w", (0,)): info(), strange(fqn="w", offset=(0,)): info()}
        ),
        "'w' lies in two places",
    ),
    "a place before": (metadata(stored={writing.index_of("w", (0,)): info(offset=-1)}), "lie at"),
    "a place of text": (metadata(stored={writing.index_of("w", (0,)): info(length="9")}), "lie at"),
    "no place": (metadata(stored={}), r"the chunk of 'w' at \(0,\) lies nowhere"),
    "no place of a value": (
        metadata(items={"v": New(writing.VALUE)}),
        "the value 'v' lies nowhere",
    ),
    "no size": (metadata(items={"w": New(writing.TENSOR, state={})}), "'w' has no size"),
    "a size of text": (
        metadata(items={"w": New(writing.TENSOR, state={"size": ("a",)})}),
        "'w' has no size",
    ),
    "offsets of lists": (
        metadata(stored={New(writing.INDEX, state={"fqn": "w", "offset": ([],)}): info()}),
        r"an item is indexed by \{'fqn': 'w', 'offset': \(\[\],\)\}",
    ),
    "no name": (metadata(items={3: tensor(WHOLE)}), "3 has no size"),
    "no dtype": (
        metadata(items={"w": New(writing.TENSOR, state={"size": size(4), "properties": None})}),
        "'w' has no dtype",
    ),
    "no chunks": (
        metadata(
            items={
                "w": New(
                    writing.TENSOR,
                    state={"size": size(4), "properties": writing.properties("float32")},
                )
            }
        ),
        "'w' has no list of chunks",
    ),
    "negative sizes": (metadata(items={"w": tensor([((0,), (-4,))])}), "has no offsets and sizes"),
}


@pytest.mark.parametrize("what", VARIANTS)
def test_metadata_of_another_kind(what: str) -> None:
    refuse(*VARIANTS[what])


def test_a_dtype_that_is_not_read() -> None:
    items = {"w": tensor(WHOLE, dtype="quint4x2")}
    refuse(
        metadata(items=items), r"'w' has the dtype torch\.quint4x2, which", UnsupportedCheckpoint
    )


def test_an_extension_of_the_writing_program() -> None:
    """Its bytes are encrypted or packed by code that nobody else has."""
    stored = {writing.index_of("w", (0,)): info(transform_descriptors=["stream.zstd"])}
    refuse(metadata(stored=stored), r"was stored through \['stream\.zstd'\]", UnsupportedCheckpoint)


def test_metadata_of_old_versions() -> None:
    """PyTorch 1.13's package, a state that is a dict, a tensor without offsets, no planner."""
    package = "torch.distributed._shard.checkpoint.metadata"
    state = {"dtype": Global("torch", "float32"), "layout": Global("torch", "strided")}
    properties = New(
        Global("torch.distributed._shard.sharded_tensor.metadata", "TensorProperties"), state=state
    )
    chunk = New(
        Global(package, "ChunkStorageMetadata"), state={"offsets": size(0), "sizes": size(4)}
    )
    item = New(
        Global(package, "TensorStorageMetadata"),
        state={"properties": properties, "size": size(4), "chunks": [chunk]},
    )
    stored = {
        New(
            Global(package, "MetadataIndex"), state={"fqn": "w", "offset": None, "index": None}
        ): info()
    }
    whole = New(
        Global(package, "Metadata"),
        state={"state_dict_metadata": {"w": item}, "storage_data": stored},
    )
    contents = read_metadata(dumps(whole))
    assert (contents.specs, contents.paths) == ({"w": SPEC}, {})


def test_planner_data_of_another_planner() -> None:
    state = {
        "state_dict_metadata": {"w": tensor(WHOLE)},
        "storage_data": {writing.index_of("w", (0,)): info()},
        "planner_data": {"w": ("a", "w"), "gone": ("gone",), "v": 3},
    }
    assert read_metadata(dumps(New(writing.ALL, state=state))).paths == {"w": ("a", "w")}
