"""The child: `python -m warmstart.formats.child SOCKET PIPE`; see the package."""

import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import CheckpointError
from ...source import Source
from ..arrays import bytes_of
from .frames import Ended, decoded_index, receive, send
from .limits import Limits, end_with, give_up

MAX_REQUEST = 1 << 30


def main() -> None:
    """Serve one checkpoint until the parent is gone."""
    wire, life = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    end_with(life)
    try:
        start = receive(wire, MAX_REQUEST)
        give_up(Limits(**start["limits"]))
        source = answered(wire, lambda: opened(start))
        while source is not None:
            serve(wire, source, receive(wire, MAX_REQUEST))
    except Ended:
        return


def opened(start: dict[str, Any]) -> tuple[Source, dict[str, Any], bytes]:
    """Open the checkpoint of a first request; return it with what is told of it."""
    format_ = import_module(start["module"])
    source: Source = format_.open_source(
        Path(start["path"]), verify=start["verify"], **start["options"]
    )
    told = {
        "specs": list(source.specs.values()),
        "order": list(source.read_order()),
        "metadata": dict(source.metadata),
        "aliases": dict(source.aliases),
        "derived": sorted(source.derived),
        "stored": dict(source.stored),
    }
    return source, told, b""


def answered(wire: socket.socket, answer: Callable[[], tuple[Any, dict[str, Any], Any]]) -> Any:
    """Send what *answer* returns, or the error that it raises; return its first part."""
    try:
        result, message, payload = answer()
    except CheckpointError as error:
        notes = list(getattr(error, "__notes__", ()))
        send(wire, {"error": type(error).__name__, "text": str(error), "notes": notes})
    except Exception as error:  # whatever a library makes of hostile bytes: the parent is told
        send(wire, {"error": "", "text": f"{type(error).__name__}: {error}"[:2000], "notes": []})
    else:
        send(wire, message, payload)
        return result
    return None


def serve(wire: socket.socket, source: Source, request: dict[str, Any]) -> None:
    """Answer one *request*."""
    if "read" in request:
        answered(wire, lambda: values(source, request["read"], request["index"]))
    elif "check" in request:
        answered(wire, lambda: checked(source, request["check"]))
    else:
        answered(wire, lambda: (None, {"unclaimed": unclaimed(source)}, b""))


def checked(source: Source, names: list[str]) -> tuple[None, dict[str, Any], bytes]:
    """Check that tensors are where the file says."""
    source.check(names)
    return None, {}, b""


def unclaimed(source: Source) -> list[str] | None:
    """Return the runs of bytes that nothing accounts for."""
    found = source.unclaimed()
    return None if found is None else list(found)


def values(source: Source, name: str, index: list[Any] | None) -> tuple[None, dict[str, Any], Any]:
    """Return the values of a tensor, or of a part, as a message and its payload."""
    import numpy as np

    if index is None:
        array = source.read(name)
    else:
        array = source.read_slice(name, decoded_index(index))
    if array.dtype == object:
        items = array.ravel().tolist()
        lengths = np.array(list(map(len, items)), "<u8")
        return None, {}, lengths.tobytes() + b"".join(items)
    return None, {}, bytes_of(np.ascontiguousarray(array))


if __name__ == "__main__":
    main()
