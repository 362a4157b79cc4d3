"""Which graph belongs to a path: a graph file of its own, one beside a checkpoint, or inside it.

model-3.meta                     itself
FOLDER/saved_model.pb            itself; also for FOLDER, and for the variables in it
PREFIX.meta                      beside the checkpoint PREFIX
graph-*.meta                     beside it too, as ModelSaver writes it: the newest
the graph of objects             in a checkpoint of TensorFlow 2, when there is no file
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..binary.urls import shown
from ..errors import CheckpointNotFound, noting
from ..formats import expanded, locate, open_as, translating_os_errors
from ..formats.tf_bundle.object_graph import OBJECT_GRAPH
from ..formats.tf_bundle.paths import saved_model_of
from ..formats.tf_bundle.pointer import names_in
from .graphs import Graph, read_metagraph_file, read_saved_model
from .object_tree import Object, object_tree

META = ".meta"


@dataclass(frozen=True, slots=True)
class Found:
    """The graphs of a file, or the objects of a checkpoint."""

    path: Path
    graphs: tuple[Graph, ...] = ()
    objects: tuple[Object, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it; only one of the two is there."""
        graphs = [graph.to_dict() for graph in self.graphs]
        objects = [each.to_dict() for each in self.objects]
        return {"path": str(self.path)} | ({"graphs": graphs} if graphs else {"objects": objects})


def graph_of(path: str | Path, **options: Any) -> Found:
    """Return the graph that belongs to *path*; *options* are those of opening a checkpoint."""
    path = expanded(path)
    with noting(f"while looking for the graph of {path}"), translating_os_errors(path):
        file = graph_file(path)
        if file is not None:
            return read_file(file)
        format, found = locate(path)
        file = saved_model_above(found) or metagraph_beside(found)
        if file is not None:
            return read_file(file)
        with noting(f"while reading {shown(found)}"), open_as(format, found, **options) as source:
            if OBJECT_GRAPH in source.specs:
                return Found(found, objects=tuple(object_tree(source)))
    raise CheckpointNotFound(
        f"{found} has no graph: there is no {found.name}{META}, graph-*{META} or saved_model.pb "
        "with it, and it is not of TensorFlow 2, which stores a graph of objects"
    )


def graph_file(path: Path) -> Path | None:
    """Return the graph file that *path* itself means, or None."""
    if path.suffix == META and path.is_file():
        return path
    return saved_model_of(path)


def saved_model_above(prefix: Path) -> Path | None:
    """Return the file of the SavedModel whose variables *prefix* is, or None."""
    inside = prefix.parent.name == prefix.name == "variables"
    return saved_model_of(prefix.parent.parent) if inside else None


def metagraph_beside(prefix: Path) -> Path | None:
    """Return the metagraph that goes with the checkpoint *prefix*, or None."""
    own = prefix.with_name(prefix.name + META)
    if own.is_file():
        return own
    names = [n for n in names_in(prefix.parent) if n.startswith("graph-") and n.endswith(META)]
    return max((prefix.with_name(n) for n in names), key=changed, default=None)


def changed(path: Path) -> tuple[float, str]:
    """Return what orders files by age."""
    return path.stat().st_mtime, path.name


def read_file(path: Path) -> Found:
    """Return the graphs in the graph file *path*."""
    read = read_metagraph_file if path.suffix == META else read_saved_model
    return Found(path, graphs=tuple(read(path)))
