"""The processes of `jax.distributed`."""

from typing import Any

import jax
from jax._src import distributed  # there is no public name for the client

from ...processes import ALONE, Processes, asking

SERVICE = "the coordination service of JAX, which is in process 0,"

#: What the coordination service answers when a key has not come in time, and when there is none.
LATE, ABSENT = "DEADLINE_EXCEEDED", "NOT_FOUND"
#: Seconds of the shortest wait: a wait of 0 is an error of its own.
LEAST = 0.001


class CoordinationStore:
    """The service by which the processes of `jax.distributed` found each other."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def put(self, key: str, value: bytes) -> None:
        with asking(SERVICE):
            self._client.key_value_set_bytes(key, value)

    def get(self, key: str, timeout: float) -> bytes | None:
        milliseconds = int(max(timeout, LEAST) * 1000)
        with asking(SERVICE):
            try:
                return bytes(self._client.blocking_key_value_get_bytes(key, milliseconds))
            except RuntimeError as error:
                if not str(error).startswith((LATE, ABSENT)):
                    raise
        return None

    def delete(self, key: str) -> None:
        with asking(SERVICE):
            self._client.key_value_delete(key)


#: The client of the service, and what was made of it: another one counts anew.
_known: tuple[Any, Processes] = (None, ALONE)


def processes() -> Processes:
    """Return the processes of `jax.distributed.initialize`, where it was called."""
    global _known  # noqa: PLW0603  (the service is global)
    client = distributed.global_state.client
    if client is None or jax.process_count() == 1:
        return ALONE
    if _known[0] is not client:
        store = CoordinationStore(client)
        _known = (client, Processes(jax.process_index(), jax.process_count(), store))
    return _known[1]
