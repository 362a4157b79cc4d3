"""Make model.onnx and external.onnx beside this file again; made with onnx 1.23.2."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent


def main() -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    inner = helper.make_graph(
        [helper.make_node("Add", ["x", "b"], ["z"])], "inner", [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(3, np.float16), "b")],
    )  # fmt: skip
    nodes = [
        helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.array(1))),
        helper.make_node("If", ["c"], ["y"], name="choose", then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3]),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w"),
         helper.make_tensor("typed", TensorProto.BFLOAT16, [2], [1.5, -2.0]),
         helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"]),
         helper.make_tensor("narrow", TensorProto.INT4, [3], [1, -2, 7])],
    )  # fmt: skip
    versions = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, producer_name="make.py", opset_imports=versions)
    onnx.save(model, HERE / "model.onnx")
    graph = helper.make_graph([], "tiny", [], [], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=versions)
    onnx.save(
        model, HERE / "external.onnx", save_as_external_data=True, location="external.data",
        size_threshold=0,
    )  # fmt: skip


if __name__ == "__main__":
    main()
