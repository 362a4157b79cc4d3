"""Files that are known and not read or written: what they are, and what to do instead."""

from pathlib import Path

PYTORCH = (
    "is a file of torch.save, which is not read; give the dict that torch.load(PATH, "
    "weights_only=True) returns to ws.SmartInit or ws.save_vars"
)
GRAPH = "is the graph of a TensorFlow checkpoint, and not its values; these may be at {}"

#: Extensions of other libraries' files: nobody who types one wants a bundle of that name.
NOT_WRITTEN = (".pt", ".pth", ".pkl", ".msgpack", ".onnx")


def what_it_is(path: Path) -> str | None:
    """Return what to say of the file *path*, None when it is not known either."""
    with path.open("rb") as file:
        start = file.read(256)
    if start.startswith(b"PK\3\4") and b"/data.pkl" in start:
        return f"{path} {PYTORCH}"
    if path.suffix == ".meta":
        return f"{path} {GRAPH.format(path.with_suffix(''))}"
    return None


def is_of_another_library(path: Path) -> bool:
    """Return whether *path* ends as the files of another library do."""
    return path.name.lower().endswith(NOT_WRITTEN)
