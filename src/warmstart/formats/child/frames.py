"""Messages between a process and the child that reads for it.

u32 n, little-endian | n bytes: a JSON object | as many bytes as its "nbytes" says
"""

import json
import socket
from collections.abc import Mapping
from typing import Any

from ...errors import CorruptCheckpoint

#: Bytes that are taken from a socket at once.
AT_ONCE = 1 << 20


class Ended(Exception):
    """The other side is gone."""


def send(wire: socket.socket, message: Mapping[str, Any], payload: Any = b"") -> None:
    """Send *message* and the bytes *payload* after it."""
    nbytes = memoryview(payload).nbytes
    raw = json.dumps({**message, "nbytes": nbytes}).encode()
    try:
        wire.sendall(len(raw).to_bytes(4, "little") + raw)
        if nbytes:
            wire.sendall(payload)
    except (BrokenPipeError, ConnectionError) as error:
        raise Ended from error


def receive(wire: socket.socket, limit: int) -> dict[str, Any]:
    """Return the next message, of *limit* bytes at most; its payload is to be received next."""
    n = int.from_bytes(received(wire, 4), "little")
    if n > limit:
        raise CorruptCheckpoint(f"a message claims {n} bytes; {limit} are allowed")
    try:
        message = json.loads(received(wire, n))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint("a message is not JSON") from error
    if not isinstance(message, dict) or type(message.get("nbytes")) is not int:
        raise CorruptCheckpoint("a message is no JSON object with its bytes")
    return message


def received(wire: socket.socket, nbytes: int) -> bytearray:
    """Return the next *nbytes*; room is made only as they come."""
    data = bytearray()
    while len(data) < nbytes:
        piece = wire.recv(min(AT_ONCE, nbytes - len(data)))
        if not piece:
            raise Ended
        data += piece
    return data


def receive_into(wire: socket.socket, room: memoryview) -> None:
    """Fill *room* with what comes next."""
    done = 0
    while done < len(room):
        n = wire.recv_into(room[done : done + AT_ONCE])
        if n == 0:
            raise Ended
        done += n


# --- indices ----------------------------------------------------------------------------------


def encoded_index(index: Any) -> Any:
    """Return *index* as JSON holds it, or None for one that only an array can say."""
    items = index if isinstance(index, tuple) else (index,)
    if not all(type(i) is int or i is ... or i is None or isinstance(i, slice) for i in items):
        return None
    return [
        ["slice", i.start, i.stop, i.step] if isinstance(i, slice) else "..." if i is ... else i
        for i in items
    ]


def decoded_index(items: list[Any]) -> tuple[Any, ...]:
    """Return the index that `encoded_index` wrote.

    >>> decoded_index(encoded_index((1, ..., slice(None, None, -1))))
    (1, Ellipsis, slice(None, None, -1))
    """
    return tuple(slice(*i[1:]) if isinstance(i, list) else ... if i == "..." else i for i in items)
