"""ONNX: the tensors of a model's graph; read, not written.

    model  = 1 ir_version | 2 producer | 7 graph | 8 opset* | 14 metadata* | 25 function* ...
    graph  = 1 node* | 5 tensor* | 11 input* | 12 output* | 15 sparse tensor* ...
    tensor = 1 sizes | 2 type | 8 name | 9 bytes, or 4 to 7, 10, 11 numbers | 13 place in a file ...

A protocol buffer (`binary.wire`), walked where it lies: the bytes of a tensor are looked at when
it is read.  Tensors are initializers, and the values of Constant nodes under the name of their
output; those of a graph in a node stand under "NODE/ATTRIBUTE/", those of a function under
"functions/NAME/".  A sparse initializer is read as the two tensors that it is stored as,
"NAME/values" and "NAME/indices": its dense form could be of any size.  Values may lie in files
beside the model (external data).  There are no checksums.
Source: onnx/onnx.proto and docs/ExternalData.md in https://github.com/onnx/onnx; onnx 1.23.
"""

from pathlib import Path

from ...source import Source

EXTENSIONS = (".onnx",)
OPTIONS = frozenset({"mmap"})
CHECKS = "structure only: the format has no checksums, so changed values go unnoticed"


def locate(path: Path) -> Path | None:
    """Return the file if it is called so, for messages begin with no magic number.

    For a folder it is its only model.
    """
    if path.is_dir():
        found = sorted(path.glob("*.onnx"))
        return found[0] if len(found) == 1 else None
    return path if path.name.lower().endswith(EXTENSIONS) and path.is_file() else None


def open_source(path: Path, *, verify: bool, mmap: bool = True) -> Source:
    """Open a model; *verify* finds nothing to check, since there are no checksums."""
    from .reading import ONNXSource

    return ONNXSource(path, mmap=mmap)
