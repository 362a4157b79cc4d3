"""What fuzzing found, so that it stays mended."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from warmstart import formats
from warmstart.errors import CheckpointNotFound

LONG = "a" * 300  # the system has no such name, and says so by another error than of a lost file


@pytest.mark.parametrize("index", ["pytorch_model.bin.index.json", "model.safetensors.index.json"])
def test_a_shard_whose_name_is_too_long(index: str, tmp_path: Path) -> None:
    (tmp_path / index).write_text(json.dumps({"weight_map": {"x": LONG}}))
    with pytest.raises(CheckpointNotFound, match="1 of 1 shards are missing: 'aaaa"):
        formats.open_as(*formats.locate(tmp_path / index))


def test_external_data_whose_name_is_too_long(tmp_path: Path) -> None:
    tensor = TensorProto(name="x", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=LONG)
    graph = helper.make_graph([], "g", [], [], [tensor])
    onnx.save_model(helper.make_model(graph), tmp_path / "m.onnx")
    with (
        formats.open_source(tmp_path / "m.onnx") as source,
        pytest.raises(CheckpointNotFound, match="1 of 1 files of external data are missing"),
    ):
        source.read("x")
