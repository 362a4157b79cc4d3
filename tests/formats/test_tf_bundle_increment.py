"""Saves beside a checkpoint: what is shared, what is written, and that each stands alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warmstart.formats.tf_bundle import increment
from warmstart.formats.tf_bundle.commit import commit
from warmstart.formats.tf_bundle.entries import merged, piece_key, whole_entry
from warmstart.formats.tf_bundle.increment import Base, base_of, numbered, save_increment
from warmstart.formats.tf_bundle.paths import data_files, data_of
from warmstart.formats.tf_bundle.reader import BundleSource
from warmstart.formats.tf_bundle.writer import write_shard
from warmstart.source import DictSource
from warmstart.testing.crashes import Fault, copied, record, trials, undurable

#: Two thirds of all that is never changed by `stepped`.
FIRST = {
    "frozen/a": np.arange(1500.0),
    "frozen/b": np.arange(500, dtype=np.int32),
    "head/w": np.ones((20, 40)),
    **{f"head/{i}": np.full(7, i, np.float32) for i in range(30)},
    "empty": np.zeros((0, 3)),
    "text": np.array([b"x"]),
}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small files of these tests be worth sharing."""
    monkeypatch.setattr(increment, "LEAST", 4096)


def stepped(arrays: Mapping[str, Any], by: float) -> dict[str, Any]:
    """Return *arrays* after a step that moves the head."""
    moved = {n: a + np.asarray(by, a.dtype) for n, a in arrays.items() if n.startswith("head")}
    return {**arrays, **moved}


def save(arrays: Mapping[str, Any], prefix: Path, base: Base | None, **options: Any) -> Base:
    source = DictSource(arrays, aliases={"tied": "frozen/a"}, metadata={"step": prefix.name})
    return save_increment(source, prefix, base, **options)


def values(prefix: Path) -> dict[str, bytes]:
    with BundleSource(prefix, verify=True) as source:
        found = {name: array.tobytes() for name, array in source.read_all().items()}
        assert source.read("tied").tobytes() == found["frozen/a"]
        return found


def expected(arrays: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: np.asarray(array, object if name == "text" else None).tobytes()
            for name, array in arrays.items() if name != "text"}  # fmt: skip


def same(prefix: Path, arrays: Mapping[str, Any]) -> bool:
    found = values(prefix)
    found.pop("text")
    return found == expected(arrays)


def new_bytes(prefix: Path) -> int:
    """Return the bytes of the data files that no other checkpoint shares."""
    return sum(p.stat().st_size for p in data_files(prefix) if p.stat().st_nlink == 1)


@pytest.fixture(params=["compared", "told"])
def unchanged(request: pytest.FixtureRequest) -> list[str] | None:
    """How it is known what has not changed."""
    told = [name for name in FIRST if not name.startswith("head")]
    return {"compared": None, "told": told}[request.param]


def test_what_has_not_changed_is_shared(tmp_path: Path, unchanged: list[str] | None) -> None:
    base, arrays = save(FIRST, tmp_path / "m-1", None), FIRST
    for step in (2, 3, 4):
        arrays = stepped(arrays, 0.5)
        base = save(arrays, tmp_path / f"m-{step}", base, unchanged=unchanged)
        assert new_bytes(tmp_path / f"m-{step}") < 12_000
        assert same(tmp_path / f"m-{step}", arrays)
    names = sorted(path.name for path in data_files(tmp_path / "m-4"))
    assert names == [f"m-4.data-0000{n}-of-00002" for n in (0, 1)]


def test_every_checkpoint_outlives_the_others(tmp_path: Path) -> None:
    import tensorflow as tf

    states = [FIRST, stepped(FIRST, 1), stepped(FIRST, 2)]
    base = None
    for step, arrays in enumerate(states):
        base = save(arrays, tmp_path / f"m-{step}", base)
    for step, arrays in enumerate(states):
        alone = copied(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{step}"))
        for path in alone.iterdir():
            if not path.name.startswith(f"m-{step}."):
                path.unlink()
        reader = tf.train.load_checkpoint(str(alone / f"m-{step}"))
        for name in ("frozen/a", "head/w", "head/3", "tied"):
            np.testing.assert_array_equal(
                reader.get_tensor(name), arrays["frozen/a" if name == "tied" else name]
            )


def test_nothing_shared_is_one_file(tmp_path: Path) -> None:
    base = save(FIRST, tmp_path / "m-1", None)
    save({n: a if n == "text" else a + 1 for n, a in FIRST.items()}, tmp_path / "m-2", base)
    assert [p.name for p in data_files(tmp_path / "m-2")] == ["m-2.data-00000-of-00001"]


def test_what_only_another_checkpoint_needs_of_a_shared_file_is_told(tmp_path: Path) -> None:
    base = save(FIRST, tmp_path / "m-1", None)
    save(stepped(FIRST, 1), tmp_path / "m-2", base)
    for shared in (", which another checkpoint that shares the file may need", ""):
        with BundleSource(tmp_path / "m-2", verify=True) as source:
            found = list(source.unclaimed())
        assert found[0].endswith(f"of m-2.data-00000-of-00002{shared}")
        (tmp_path / "m-1.data-00000-of-00001").unlink(missing_ok=True)


def test_nothing_changed(tmp_path: Path) -> None:
    base = save(FIRST, tmp_path / "m-1", None)
    save(FIRST, tmp_path / "m-2", base)
    assert new_bytes(tmp_path / "m-2") < 300
    assert same(tmp_path / "m-2", FIRST)


def test_what_is_needed_of_a_file_that_is_mostly_not_gets_its_own(tmp_path: Path) -> None:
    """A third is frozen: it is written once more, and shared from then on."""
    first = {**FIRST, "head/large": np.zeros(6000)}
    base, arrays = save(first, tmp_path / "m-1", None), first
    sizes = []
    for step in (2, 3, 4):
        arrays = stepped(arrays, 1)
        base = save(arrays, tmp_path / f"m-{step}", base)
        assert same(tmp_path / f"m-{step}", arrays)
        sizes.append((len(data_files(tmp_path / f"m-{step}")), new_bytes(tmp_path / f"m-{step}")))
    assert [count for count, _ in sizes] == [2, 2, 2]
    assert sizes[0][1] > 70_000
    assert sizes[1][1] == sizes[2][1] < 60_000


def test_a_little_that_is_needed_is_written_with_the_rest(tmp_path: Path) -> None:
    first = {"constant": np.ones(600), "head": np.zeros(60_000)}
    base = save_increment(DictSource(first), tmp_path / "m-1", None)
    save_increment(DictSource({**first, "head": first["head"] + 1}), tmp_path / "m-2", base)
    assert len(data_files(tmp_path / "m-2")) == 1


def test_a_thawed_tensor_moves_and_an_untouched_one_does_not(tmp_path: Path) -> None:
    base = save(FIRST, tmp_path / "m-1", None)
    arrays = {**stepped(FIRST, 1), "frozen/b": FIRST["frozen/b"] + 1}
    base = save(arrays, tmp_path / "m-2", base)
    assert 8000 < new_bytes(tmp_path / "m-2") < 14_000
    arrays = {**stepped(arrays, 1), "new": np.ones(3)}
    arrays.pop("head/w")
    save(arrays, tmp_path / "m-3", base)
    assert same(tmp_path / "m-3", arrays)


def test_shape_and_dtype_count(tmp_path: Path) -> None:
    """The same bytes are not the same tensor."""
    base = save_increment(
        DictSource({"a": np.zeros(4000), "b": np.ones(9000)}), tmp_path / "1", None
    )
    arrays = {"a": np.zeros((40, 100)), "b": np.ones(9000).view(np.int64)}
    save_increment(DictSource(arrays), tmp_path / "2", base)
    with BundleSource(tmp_path / "2", verify=True) as source:
        for name, array in source.read_all().items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_bits_count_and_not_numbers(tmp_path: Path) -> None:
    nan = np.full(3000, np.nan)
    base = save_increment(DictSource({"z": np.zeros(1000), "nan": nan}), tmp_path / "1", None)
    save_increment(DictSource({"z": -np.zeros(1000), "nan": nan}), tmp_path / "2", base)
    assert new_bytes(tmp_path / "2") == 8000
    with BundleSource(tmp_path / "2", verify=True) as source:
        assert np.signbit(source.read("z")).all()


def test_a_base_whose_files_were_replaced_is_none(tmp_path: Path) -> None:
    base = save(FIRST, tmp_path / "m-1", None)
    data = tmp_path / "m-1.data-00000-of-00001"
    raw = data.read_bytes()
    data.unlink()
    save(FIRST, tmp_path / "m-2", base, unchanged=list(FIRST))
    assert same(tmp_path / "m-2", FIRST)
    data.write_bytes(bytes(len(raw)))
    save(FIRST, tmp_path / "m-3", base, unchanged=list(FIRST))
    assert same(tmp_path / "m-3", FIRST)


def test_a_base_that_lost_a_file_as_it_was_saved_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchanged: list[str] | None
) -> None:
    files_of = increment.files_of

    def lost(prefix: Path, shards: int) -> dict[int, increment.Identity]:
        (tmp_path / "m-1.data-00000-of-00001").unlink(missing_ok=True)
        return files_of(prefix, shards)

    monkeypatch.setattr(increment, "files_of", lost)
    base = save(FIRST, tmp_path / "m-1", None)
    save(FIRST, tmp_path / "m-2", base, unchanged=unchanged)
    assert same(tmp_path / "m-2", FIRST)


def test_a_base_is_read_from_its_files(tmp_path: Path) -> None:
    save(FIRST, tmp_path / "m-1", None)
    base = save(stepped(FIRST, 1), tmp_path / "m-2", base_of(tmp_path / "m-1"))
    found = base_of(tmp_path / "m-2")
    assert found is not None
    entries = {key: entry for key, entry in found.entries.items() if key != b"tied"}
    assert (entries, found.files) == (base.entries, base.files)


def test_a_tensor_in_pieces_is_written_anew(tmp_path: Path) -> None:
    """As one process finds it that goes on from a checkpoint of several."""
    boxes = [(slice(0, 3), slice(0, 4)), (slice(3, 6), slice(0, 4))]
    whole = np.arange(24_000.0).reshape(6, 4000)[:, :4].copy()
    parts = []
    for shard, box in enumerate(boxes):
        source, keys = DictSource({"w": whole[box]}), {"w": piece_key("w", box, whole.shape)}
        entries = write_shard(source, data_of(tmp_path / "m-1", shard, 2), keys, shard=shard)
        parts.append({**entries, b"w": whole_entry("float64", whole.shape, [box])})
    commit(tmp_path / "m-1", 2, merged(parts))
    for number, told in enumerate((None, ["w"])):
        prefix = tmp_path / f"m-2{number}"
        save_increment(DictSource({"w": whole}), prefix, base_of(tmp_path / "m-1"), unchanged=told)
        alone = copied(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{number}"))
        for path in alone.glob("m-1.*"):
            path.unlink()
        with BundleSource(alone / prefix.name, verify=True) as found_in:
            np.testing.assert_array_equal(found_in.read("w"), whole)


def test_a_checkpoint_saved_over_its_own_base(tmp_path: Path) -> None:
    base, arrays = save(FIRST, tmp_path / "m", None), FIRST
    for _ in range(4):
        arrays = stepped(arrays, 1)
        base = save(arrays, tmp_path / "m", base)
        assert same(tmp_path / "m", arrays)
        assert {count for _, count in data_files(tmp_path / "m").values()} == {base.shards}


def test_the_number_of_shared_files_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(increment, "MOST", 3)
    arrays = {f"part{i}": np.full(2000, i) for i in range(10)}
    base = save_increment(DictSource(arrays), tmp_path / "0", None)
    for step in range(1, 10):  # one part after the other comes to rest
        arrays |= {f"part{i}": arrays[f"part{i}"] + 1 for i in range(step, 10)}
        base = save_increment(DictSource(arrays), tmp_path / str(step), base)
        assert base.shards <= 5
        with BundleSource(tmp_path / str(step), verify=True) as source:
            found = source.read_all()
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_numbers_leave_no_gap() -> None:
    assert numbered([0, 2, 5], with_steady=True).shared == {0: 0, 2: 2, 5: 1}
    assert numbered([0, 2, 5], with_steady=True).shards == 5


CASES = {"frozen": FIRST, "mostly moved": {**FIRST, "head/large": np.zeros(6000)}}


@pytest.fixture(params=CASES)
def template(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder of two checkpoints, of which the second shares with the first where it can."""
    folder, first = tmp_path / "template", CASES[request.param]
    folder.mkdir()
    base = save(first, folder / "m-1", None)
    save(stepped(first, 1), folder / "m-2", base)
    return folder


def third(folder: Path) -> None:
    """Save a third state beside the second."""
    with BundleSource(folder / "m-2", verify=True) as source:
        arrays = dict(source.read_all())
    save(stepped(arrays, 1), folder / "m-3", base_of(folder / "m-2"))


def found(folder: Path) -> tuple[bool, bool]:
    """Return whether the second checkpoint is whole, and whether the third is there and whole."""
    second, name = values(folder / "m-2"), "head/w"
    moved = np.frombuffer(second[name]) + 1
    if not (folder / "m-3.index").exists():
        return True, False
    return True, values(folder / "m-3")[name] == moved.tobytes()


@pytest.mark.parametrize("fault", [Fault.KILLED, Fault.TORN, Fault.FULL])
def test_a_save_stopped_at_every_point(template: Path, tmp_path: Path, fault: Fault) -> None:
    done = list(trials(template, third, found, fault, tmp_path / "scratch"))
    folder = copied(template, tmp_path / "whole")
    points = record(lambda: third(folder))
    last = max(point.index for point in points if point.call == "replace")
    for trial in done:
        assert trial.found == (True, trial.point.index > last), trial.point
    if fault is Fault.FULL:
        before = sorted(path.name for path in template.iterdir())
        assert all(list(t.files) == before for t in done if t.point.index <= last)


def test_a_power_cut_undoes_nothing(template: Path, tmp_path: Path) -> None:
    folder = copied(template, tmp_path / "whole")
    points = record(lambda: third(folder))
    assert undurable(points) == []
    assert "link" in {point.call for point in points}
