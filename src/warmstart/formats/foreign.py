"""Files that are known and not read or written: what they are, and what to do instead."""

from pathlib import Path

GRAPH = (
    "is the graph of a TensorFlow checkpoint, and not its values; these may be at {}. "
    "The graph itself is shown by ls --graph"
)

#: Extensions of other libraries' files: nobody who types one wants a bundle of that name.
NOT_WRITTEN = (".pkl", ".onnx")


def what_it_is(path: Path) -> str | None:
    """Return what to say of the file *path*, None when it is not known either."""
    if path.suffix == ".meta":
        return f"{path} {GRAPH.format(path.with_suffix(''))}"
    return None


def is_of_another_library(path: Path) -> bool:
    """Return whether *path* ends as the files of another library do."""
    return path.name.lower().endswith(NOT_WRITTEN)
