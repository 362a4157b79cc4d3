"""The graph in a file that `tf.compat.v1.train.import_meta_graph` reads."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import tensorflow as tf

from ...binary.atomic import write_whole
from ...errors import SaveError


def save_metagraph(graph: Any, folder: Path) -> Path:
    """Write *graph* with its collections as `graph-<digest>.meta` into *folder*; return the path.

    The name tells the contents, so the same graph, in a resumed run too, is written only once.
    """
    with graph.as_default():
        meta = tf.compat.v1.train.export_meta_graph()
    try:
        data = meta.SerializeToString(deterministic=True)
    except ValueError as error:  # protobuf's limit
        raise SaveError(
            "the graph was not written: it takes more than the 2 GiB a metagraph can hold, "
            "constants included; make big constants variables"
        ) from error
    path = folder / f"graph-{sha256(data).hexdigest()[:12]}.meta"
    if not path.exists():
        write_whole(path, data)
    return path
