"""Writing `.weights.h5` and `.keras`; that Keras loads them is in test_keras_live."""

import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from warmstart import CannotHold, DictSource, UnsupportedCheckpoint
from warmstart.formats import keras, safetensors
from warmstart.testing.formats import Failing, assert_same
from warmstart.testing.reading import same

GOLDEN = Path(__file__).parents[1] / "golden" / "keras"
LIKE = GOLDEN / "sequential.keras"


def arrays_of(name: str = "sequential.keras") -> dict[str, np.ndarray]:
    """Return the tensors of a golden file."""
    with keras.open_source(GOLDEN / name, verify=True) as source:
        return source.read_all()


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras"])
@pytest.mark.parametrize(
    "origin", ["sequential.keras", "functional.keras", "subclassed.keras", "old_functional.keras"]
)
def test_what_was_read_is_written_with_all_that_is_known_of_it(
    tmp_path: Path, origin: str, name: str
) -> None:
    with keras.open_source(GOLDEN / origin, verify=True) as source:
        keras.save_source(source, tmp_path / name)
        with keras.open_source(tmp_path / name, verify=True) as other:
            assert list(other.specs.items()) == list(source.specs.items())
            assert dict(other.aliases) == dict(source.aliases)
            assert dict(other.metadata) == dict(source.metadata)
            assert same(other.read_all(), source.read_all())


def test_the_structure_survives_another_format(tmp_path: Path) -> None:
    with keras.open_source(LIKE, verify=True) as source:
        safetensors.save_source(source, tmp_path / "m.safetensors")
    with safetensors.open_source(tmp_path / "m.safetensors", verify=True) as source:
        keras.save_source(source, tmp_path / "m.keras")
    with (
        zipfile.ZipFile(LIKE) as old,
        zipfile.ZipFile(tmp_path / "m.keras") as new,
        h5py.File(new.open("model.weights.h5")) as file,
        h5py.File(old.open("model.weights.h5")) as other,
    ):
        assert new.testzip() is None
        assert new.namelist() == old.namelist()
        assert new.read("config.json") == old.read("config.json")
        assert tree(file) == tree(other)


def tree(file: h5py.File) -> dict[str, object]:
    """Return every group with its name, and every dataset with its values."""
    found: dict[str, object] = {}
    file.visititems(
        lambda name, item: found.update(
            {name: item[...].tolist() if hasattr(item, "shape") else item.attrs.get("name")}
        )
    )
    return found


def test_like_gives_every_place(tmp_path: Path) -> None:
    arrays = {name: array + 1 for name, array in arrays_of().items()}
    keras.save_source(DictSource(arrays), tmp_path / "m.weights.h5", like=LIKE)
    with h5py.File(tmp_path / "m.weights.h5") as file:
        assert file["layers/dense_1/vars"].attrs["name"] == "head"
        np.testing.assert_array_equal(file["layers/dense_1/vars/0"][...], arrays["head/kernel"])
    with keras.open_source(tmp_path / "m.weights.h5", verify=True) as source:
        assert_same(source, arrays)


def test_like_takes_any_name_that_it_has_for_a_variable(tmp_path: Path) -> None:
    names = {
        "sequential/head/kernel": "head/kernel",
        "head/bias": "layers/dense_1/vars/1",
    }
    arrays = {names.get(name, name): array for name, array in arrays_of().items()}
    keras.save_source(DictSource(arrays), tmp_path / "m.weights.h5", like=LIKE)
    with keras.open_source(tmp_path / "m.weights.h5", verify=True) as source:
        assert_same(source, arrays)


def test_like_without_the_optimizer_leaves_it_out(tmp_path: Path) -> None:
    with keras.open_source(LIKE, verify=True) as source:
        own = [name for name, path in source.paths.items() if not path.startswith("optimizer/")]
        arrays = {name: source.read(name) for name in own}
    keras.save_source(DictSource(arrays), tmp_path / "m.keras", like=LIKE)
    with keras.open_source(tmp_path / "m.keras", verify=True) as source:
        assert_same(source, arrays)
        assert not any(path.startswith("optimizer") for path in source.aliases)


def test_like_brings_its_other_members(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(LIKE) as old,
        zipfile.ZipFile(tmp_path / "like.keras", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("assets/layers/text/words.txt", "a b c")
    keras.save_source(DictSource(arrays_of()), tmp_path / "m.keras", like=tmp_path / "like.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.read("assets/layers/text/words.txt") == b"a b c"


def test_the_same_tensors_in_another_order_are_the_same_bytes(tmp_path: Path) -> None:
    arrays = arrays_of()
    for name, each in (("a", arrays), ("b", dict(reversed(arrays.items())))):
        keras.save_source(DictSource(each), tmp_path / f"{name}.weights.h5", like=LIKE)
        keras.save_source(DictSource(each), tmp_path / f"{name}.keras", like=LIKE)
    for end in ("weights.h5", "keras"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()


def test_names_alone_tell_no_place(tmp_path: Path) -> None:
    source = DictSource({"dense/kernel": np.ones(2), "dense/bias": np.ones(1)})
    with pytest.raises(CannotHold) as caught:
        keras.save_source(source, tmp_path / "m.weights.h5")
    text = str(caught.value)
    assert "'dense/kernel'  float64 (2,): no place of it is known" in text
    assert "Give a file of the same model: like=FILE, or --like FILE" in text


def test_counters_of_pytorch_have_no_place(tmp_path: Path) -> None:
    arrays = arrays_of() | {"norm.num_batches_tracked": np.int64(3)}
    message = r"(?s)'norm.num_batches_tracked'.*Only PyTorch counts .* 'drop \*num_batches_tracked'"
    with pytest.raises(CannotHold, match=message):
        keras.save_source(DictSource(arrays), tmp_path / "m.weights.h5", like=LIKE)


def test_what_does_not_fit_like_is_all_named(tmp_path: Path) -> None:
    arrays = arrays_of()
    del arrays["head/bias"]
    arrays["frozen/bias"] = np.ones((4, 4))
    with pytest.raises(CannotHold) as caught:
        keras.save_source(DictSource(arrays), tmp_path / "m.weights.h5", like=LIKE)
    text = str(caught.value)
    assert "'head/bias'    float32 (2,): the source has nothing of that name" in text
    assert "Rename the source's tensors to these (--rename OLD=NEW), or give a file of" in text
    assert "'frozen/bias'  float32 (3,): the source has float64 (4, 4)" in text
    with pytest.raises(CannotHold, match=r"'more'  float64 .*: no place of it is known"):
        keras.save_source(
            DictSource({**arrays_of(), "more": np.ones(1)}), tmp_path / "m.keras", like=LIKE
        )
    assert list(tmp_path.iterdir()) == []


def test_like_of_another_layout(tmp_path: Path) -> None:
    with pytest.raises(
        UnsupportedCheckpoint, match=r"is no \.weights\.h5 or \.keras file of Keras 3"
    ):
        keras.save_source(DictSource(arrays_of()), tmp_path / "m.keras", like=GOLDEN / "legacy3.h5")


def test_a_model_needs_a_configuration(tmp_path: Path) -> None:
    like = GOLDEN / "sequential.weights.h5"
    with pytest.raises(CannotHold, match=r"Give a \.keras file .* or save to m\.weights\.h5"):
        keras.save_source(
            DictSource(arrays_of("sequential.weights.h5")), tmp_path / "m.keras", like=like
        )


def test_shards_are_only_read(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match=r"only read; save to m\.weights\.h5 instead"):
        keras.save_source(DictSource({}), tmp_path / "m.weights.json")


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotHold, match=r"'\\udc80'  is not Unicode text"):
        keras.save_source(DictSource({"\udc80": np.ones(1)}), tmp_path / "m.weights.h5")


#: Saves under a limit on the size of a file, as on a disk that is full at that point.
LIMITED = """
import resource, sys
import numpy as np
from pathlib import Path
from warmstart import DictSource, SaveError
from warmstart.formats import keras_h5
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    keras_h5.save_source(DictSource({f"l{i}/w": np.ones(99) for i in range(50)}), Path(sys.argv[1]))
except SaveError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [500, 3_000, 60_000])
def test_a_file_that_may_not_grow(tmp_path: Path, limit: int) -> None:
    (tmp_path / "m.h5").write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "m.h5"), str(limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "was not written: File too large; what was there before is kept" in said
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"old")
    source = Failing(arrays_of(), "head/bias")
    with pytest.raises(Exception, match="the bytes of 'head/bias' were changed"):
        keras.save_source(source, tmp_path / name, like=LIKE)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"old"
