"""Any format to any other and back: values, dtypes, roles, other names and metadata survive."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from warmstart import open as open_checkpoint
from warmstart.errors import CannotHold
from warmstart.files.convert import convert
from warmstart.files.diff import diff
from warmstart.files.variables import save_vars
from warmstart.formats import FORMATS, format_named
from warmstart.source import DictSource
from warmstart.spec import ITEMSIZES
from warmstart.testing.formats import values_of

#: The path that each format is written to.
WRITTEN = {
    "tf-bundle": "m", "safetensors": "m.safetensors", "npz": "m.npz", "torch": "m.pt",
    "dcp": "m.dcp", "keras-h5": "m.h5", "orbax": "m.orbax", "msgpack": "m.msgpack",
}  # fmt: skip

#: Formats that can only be written with the structure of a model: their own tests do it.
NEED_A_MODEL = {"keras"}

TINY = {"int2", "int4", "uint2", "uint4"}
SIX_BITS = {"float6_e2m3fn", "float6_e3m2fn"}
FLOATS_OF_IEEE = {"float8_e3m4", "float8_e4m3"}

#: The dtypes that a format has no place for; all others it keeps.
LACKS: dict[str, set[str]] = {
    "tf-bundle": {*SIX_BITS, *FLOATS_OF_IEEE, "float8_e8m0fnu"},
    "safetensors": {*TINY, *FLOATS_OF_IEEE, "float8_e4m3b11fnuz", "complex128", "string"},
    "npz": set(),
    "torch": {*TINY, *SIX_BITS, *FLOATS_OF_IEEE, "float8_e4m3b11fnuz", "float4_e2m1fn", "string"},
    "dcp": {*TINY, *SIX_BITS, *FLOATS_OF_IEEE, "float8_e4m3b11fnuz", "float4_e2m1fn", "string"},
    "keras-h5": set(),
    "orbax": {*SIX_BITS, "float8_e4m3", "uint2", "uint4", "string"},
    "msgpack": {"string"},
}

SOURCE = DictSource(
    {
        "enc/w": values_of("float32"),
        "enc/b": values_of("bfloat16"),
        "enc/w_m": values_of("float16"),
        "enc/none": np.zeros((0, 3), np.float32),
        "mask": values_of("bool"),
        "step": np.array(3),
    },
    roles={"enc/w": "trainable", "enc/b": "model", "enc/w_m": "slot", "step": "run"},
    aliases={"tied": "enc/w"},
    metadata={"note": "kept"},
)


def test_every_written_format_is_here() -> None:
    written = {name for name in FORMATS if hasattr(format_named(name), "save_source")}
    assert written == WRITTEN.keys() | NEED_A_MODEL
    assert WRITTEN.keys() == LACKS.keys()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(WRITTEN, WRITTEN)))
def test_there_and_back(first: str, second: str, tmp_path: Path) -> None:
    for step in ("a", "b", "c"):
        (tmp_path / step).mkdir()
    there = tmp_path / "a" / WRITTEN[first]
    other = tmp_path / "b" / WRITTEN[second]
    back = tmp_path / "c" / WRITTEN[first]
    save_vars(SOURCE, there, first)
    convert(there, other, format=second)
    convert(other, back, format=first)
    for path in (there, other, back):
        assert diff(SOURCE, path, all=True).same
        with open_checkpoint(path) as source:
            assert dict(source.specs) == dict(SOURCE.specs)
            assert source.aliases == SOURCE.aliases
            assert source.metadata == SOURCE.metadata


@pytest.mark.parametrize("format", WRITTEN)
def test_every_dtype_there_and_back(format: str, tmp_path: Path) -> None:
    held = {name: values_of(name) for name in sorted(set(ITEMSIZES) - LACKS[format])}
    save_vars(held, tmp_path / "all.npz")
    convert(tmp_path / "all.npz", tmp_path / WRITTEN[format], format=format)
    convert(tmp_path / WRITTEN[format], tmp_path / "back.npz")
    assert diff(held, tmp_path / WRITTEN[format]).same
    assert diff(held, tmp_path / "back.npz").same


@pytest.mark.parametrize("format", [name for name in WRITTEN if LACKS[name]])
def test_dtypes_that_have_no_place_are_named(format: str, tmp_path: Path) -> None:
    lacking = {f"of {name}": values_of(name) for name in sorted(LACKS[format])}
    save_vars({**lacking, "w": np.ones(3)}, tmp_path / "all.npz")
    with pytest.raises(CannotHold) as caught:
        convert(tmp_path / "all.npz", tmp_path / WRITTEN[format], format=format)
    assert [name for name in lacking if repr(name) not in str(caught.value)] == []
    assert not (tmp_path / WRITTEN[format]).exists()
