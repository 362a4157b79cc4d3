"""Flax's msgpack: the contract, and Flax as the judge."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pytest
from flax import serialization

from warmstart import formats
from warmstart.binary.msgpack import Place
from warmstart.errors import CannotHold, CheckpointNotFound, full_text
from warmstart.formats import msgpack as ours
from warmstart.formats.msgpack import reading, writing
from warmstart.source import DictSource
from warmstart.spec import ITEMSIZES
from warmstart.testing import FormatContract
from warmstart.testing.formats import BASE, values_of

GOLDEN = Path(__file__).parent.parent / "golden" / "msgpack"


class TestMsgpack(FormatContract):
    format = ours
    dtypes = frozenset(ITEMSIZES) - {"string"}

    def petabyte(self, path: Path) -> None:
        array = msgpack.packb(([2**48], "float32", b""))
        path.write_bytes(msgpack.packb({"x": msgpack.ExtType(1, array)}))

    def test_roles_survive(self, tmp_path: Path) -> None:
        """The contract's own names lie in one another, which a tree cannot have."""
        roles = {"w": "trainable", "mean": "model", "slot/w": "slot", "step": "run"}
        arrays = dict.fromkeys((*roles, "unknown"), BASE)
        with self.open(self.save(DictSource(arrays, roles=roles), tmp_path)) as source:
            found = {name: spec.role for name, spec in source.specs.items()}
        assert found == {**roles, "unknown": None}


def save(tensors: Mapping[str, Any], path: Path, **notes: Mapping[str, str]) -> Path:
    formats.save_source(DictSource(tensors, **notes), path)
    return path


def load(path: Path) -> dict[str, np.ndarray]:
    with formats.open_source(path) as source:
        return source.read_all()


# --- Flax -------------------------------------------------------------------------------------

TREE = {
    "params": {
        "Dense_0": {
            "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
            "bias": np.ones(3, ml_dtypes.bfloat16),
        }
    },
    "opt_state": {"0": {"mu": np.arange(300)}, "1": {}},
    "step": np.array(4, np.int32),
    "lr": 0.5,
    "name": "first",
    "none": None,
    "numbers": {"small": -5, "large": 2**63, "negative": -(2**40), "true": True},
    "empty": np.zeros((0, 3), np.float16),
}
FLAT = {
    "params/Dense_0/kernel": TREE["params"]["Dense_0"]["kernel"],
    "params/Dense_0/bias": TREE["params"]["Dense_0"]["bias"],
    "opt_state/0/mu": TREE["opt_state"]["0"]["mu"],
    "step": TREE["step"],
    "empty": TREE["empty"],
}
PLAIN = {
    "opt_state/1": "{}",
    "lr": "0.5",
    "name": '"first"',
    "none": "null",
    "numbers/small": "-5",
    "numbers/large": "9223372036854775808",
    "numbers/negative": "-1099511627776",
    "numbers/true": "true",
}


def test_what_flax_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "m.msgpack").write_bytes(serialization.msgpack_serialize(TREE))
    with formats.open_source(tmp_path / "m.msgpack") as source:
        assert source.metadata == PLAIN
        assert sorted(source.specs) == sorted(FLAT)
        for name, array in FLAT.items():
            np.testing.assert_array_equal(source.read(name), array, strict=True)


def test_the_bytes_are_those_of_flax(tmp_path: Path) -> None:
    save(FLAT, tmp_path / "m.msgpack", metadata=PLAIN)
    assert (tmp_path / "m.msgpack").read_bytes() == serialization.msgpack_serialize(TREE)


@pytest.mark.parametrize("dtype", sorted(TestMsgpack.dtypes))
def test_flax_reads_every_dtype(dtype: str, tmp_path: Path) -> None:
    save({"a/x": values_of(dtype)}, tmp_path / "m.msgpack")
    found = serialization.msgpack_restore((tmp_path / "m.msgpack").read_bytes())["a"]["x"]
    assert found.dtype == values_of(dtype).dtype
    assert found.tobytes() == values_of(dtype).tobytes()


@pytest.mark.parametrize("count", [0, 15, 16, 70_000])
def test_counts_of_every_size(count: int, tmp_path: Path) -> None:
    tree = {f"w{i}": np.zeros(0, np.int8) for i in range(count)}
    save(tree, tmp_path / "m.msgpack")
    assert (tmp_path / "m.msgpack").read_bytes() == serialization.msgpack_serialize(tree)
    assert len(load(tmp_path / "m.msgpack")) == count


@pytest.mark.parametrize("nbytes", [1, 100, 200, 300, 70_000])
def test_sizes_of_every_length(nbytes: int, tmp_path: Path) -> None:
    tree = {"k" * min(nbytes, 300): np.ones(nbytes, np.int8)}
    save(tree, tmp_path / "m.msgpack")
    assert (tmp_path / "m.msgpack").read_bytes() == serialization.msgpack_serialize(tree)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_CHUNK", 20)
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 20)


@pytest.mark.usefixtures("small_chunks")
def test_large_arrays_are_cut_as_flax_does(tmp_path: Path) -> None:
    tree = {"large": np.arange(24.0).reshape(2, 3, 4), "small": np.arange(2.0)}
    save(tree, tmp_path / "m.msgpack")
    assert (tmp_path / "m.msgpack").read_bytes() == serialization.msgpack_serialize(tree)
    with formats.open_source(tmp_path / "m.msgpack") as source:
        np.testing.assert_array_equal(source.read("large"), tree["large"], strict=True)
        assert source.read_slice("large", (1, 2)).tolist() == [20, 21, 22, 23]


@pytest.mark.usefixtures("small_chunks")
def test_a_part_of_a_large_array_costs_its_own_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save({"large": np.arange(64.0)}, tmp_path / "m.msgpack")
    asked: list[tuple[int, int]] = []

    def recording(runs: list[Place], begin: int, nbytes: int) -> list[tuple[int, int]]:
        asked.extend(found := list(cut(runs, begin, nbytes)))
        return found

    cut = reading.cut
    monkeypatch.setattr(reading, "cut", recording)
    with formats.open_source(tmp_path / "m.msgpack") as source:
        assert source.read_slice("large", slice(3, 6)).tolist() == [3, 4, 5]
    assert [end - begin for begin, end in asked] == [8, 16]


def test_a_train_state_says_its_roles_and_comes_back(tmp_path: Path) -> None:
    import jax.numpy as jnp
    import optax
    from flax.training.train_state import TrainState

    state = TrainState.create(apply_fn=None, params={"w": jnp.ones((2, 3))}, tx=optax.adam(1e-3))
    raw = serialization.to_bytes(state.replace(step=jnp.array(7)))
    (tmp_path / "checkpoint_7").write_bytes(raw)
    with formats.open_source(tmp_path) as source:
        roles = {name: spec.role for name, spec in source.specs.items()}
        assert roles == {
            "params/w": None, "opt_state/0/count": "slot", "opt_state/0/mu/w": "slot",
            "opt_state/0/nu/w": "slot", "step": "run",
        }  # fmt: skip
        formats.save_source(source, tmp_path / "copy.msgpack")
    copy = serialization.from_bytes(state, (tmp_path / "copy.msgpack").read_bytes())
    assert int(copy.step) == 7
    np.testing.assert_array_equal(copy.opt_state[0].mu["w"], np.zeros((2, 3)))


def test_leaves_that_json_has_no_word_for(tmp_path: Path) -> None:
    tree = {
        "complex": 1 + 2j, "bytes": b"ab", "long": bytes(2000), "list": [1, [2.5]],
        "scalar": np.float32(3), "own": msgpack.ExtType(5, b"abc"), 3: "number",
    }  # fmt: skip
    raw = msgpack.packb(tree, default=serialization._msgpack_ext_pack, strict_types=True)
    (tmp_path / "m.msgpack").write_bytes(raw)
    with formats.open_source(tmp_path / "m.msgpack") as source:
        assert source.metadata == {
            "complex": "(1+2j)", "bytes": "b'ab'", "long": "<2000 bytes>", "list/0": "1",
            "list/1/0": "2.5", "own": "<3 bytes of the extension 5>", "3": '"number"',
        }  # fmt: skip
        assert str(source.specs["scalar"]) == "float32 ()"
        assert source.read("scalar") == 3


def test_golden_files() -> None:
    expected = json.loads((GOLDEN / "expected.json").read_text())
    for name, said in expected.items():
        with formats.open_source(GOLDEN / name) as source:
            assert dict(source.metadata) == said["metadata"]
            found = {n: [str(source.specs[n]), a.tolist()] for n, a in source.read_all().items()}
        assert found == said["tensors"]


# --- finding ----------------------------------------------------------------------------------


def test_the_latest_step_of_a_folder(tmp_path: Path) -> None:
    for step in (9, 100):
        raw = serialization.msgpack_serialize({"w": np.full(2, step)})
        (tmp_path / f"checkpoint_{step}").write_bytes(raw)
    assert formats.locate(tmp_path) == ("msgpack", tmp_path / "checkpoint_100")


def test_the_only_file_of_a_folder(tmp_path: Path) -> None:
    save({"w": np.ones(2)}, tmp_path / "flax_model.msgpack")
    (tmp_path / "config.json").write_text("{}")
    assert formats.locate(tmp_path) == ("msgpack", tmp_path / "flax_model.msgpack")


def test_several_files_and_no_index(tmp_path: Path) -> None:
    save({"w": np.ones(2)}, tmp_path / "a.msgpack")
    save({"w": np.ones(2)}, tmp_path / "b.msgpack")
    with pytest.raises(CheckpointNotFound, match=r"2 files \*.msgpack .*: a.msgpack, b.msgpack"):
        formats.locate(tmp_path)


@pytest.mark.parametrize(
    "tree", [{"name": "first", "none": None, "n": {"x": 70_000, "y": 0.5}}, {"k" * 300: {}}]
)
def test_a_file_by_any_name(tree: dict[str, Any], tmp_path: Path) -> None:
    tree = {**tree, "w": np.ones(200)}
    (tmp_path / "weights").write_bytes(serialization.to_bytes(tree))
    assert ours.locate(tmp_path / "weights") == tmp_path / "weights"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x81",
        b"\x81\xa1a\x01",
        b"\x81\xa1a\x91\x01",
        b"\x81\xa1a\xc7\1\5\x93",
        b"\x80" * 2000,
    ],
)
def test_other_msgpack_is_not_claimed(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(content)
    assert ours.locate(tmp_path / "other") is None


def test_a_sharded_checkpoint(tmp_path: Path) -> None:
    save({"model/a": np.ones(2)}, tmp_path / "flax_model-00001-of-00002.msgpack")
    save({"model/b": np.zeros(3)}, tmp_path / "flax_model-00002-of-00002.msgpack")
    shards = {"model/a": 1, "model/b": 2}
    weight_map = {n: f"flax_model-0000{i}-of-00002.msgpack" for n, i in shards.items()}
    index = {"metadata": {"total_size": 28}, "weight_map": weight_map}
    (tmp_path / "flax_model.msgpack.index.json").write_text(json.dumps(index))
    assert {name: a.shape for name, a in load(tmp_path).items()} == {
        "model/a": (2,), "model/b": (3,),
    }  # fmt: skip


# --- writing ----------------------------------------------------------------------------------


def test_everything_it_cannot_hold_is_named(tmp_path: Path) -> None:
    tensors = {
        "a": np.ones(1), "a/b/c": np.ones(1), "a/b": np.ones(1), "text": np.array([b"a"]),
        "warmstart/x": np.ones(1), "x/__msgpack_chunked_array__": np.ones(1),
        "\ud800": np.ones(1), "/".join("d" * 101): np.ones(1), "fine": np.ones(1),
    }  # fmt: skip
    with pytest.raises(CannotHold) as caught:
        save(tensors, tmp_path / "m.msgpack", aliases={"fine": "a"})
    said = full_text(caught.value)
    assert "msgpack cannot hold 8 of these:" in said
    for line in (
        "'fine'                          ", "is not another name of 'a', as the source has it",
        "is also a container of others; rename it, or drop it or those under it",
        "string (1,): no such dtype in the format",
        "is below the key of this library's own note", "a key that marks an array in chunks",
        "lies 101 levels deep, where 100 are read", "is not Unicode text",
    ):  # fmt: skip
        assert line.strip() in said
    assert list(tmp_path.iterdir()) == []


def test_metadata_in_the_way_of_a_tensor_go_to_the_note(tmp_path: Path) -> None:
    metadata = {
        "w": "1", "w/x": "2", "a": "3", "a/b/c": "4", "l": "5", "l/x": "6", "warmstart": "7",
        "huge": str(2**64), "list": "[1]", "spaced": "[ ]",
    }  # fmt: skip
    save({"w": np.ones(1), "a/b": np.ones(1)}, tmp_path / "m.msgpack", metadata=metadata)
    with formats.open_source(tmp_path / "m.msgpack") as source:
        assert source.metadata == metadata
    tree = serialization.msgpack_restore((tmp_path / "m.msgpack").read_bytes())
    assert tree["l"] == 5
    note = json.loads(tree["warmstart"])["metadata"]
    assert sorted(note) == sorted(metadata.keys() - {"l"})
