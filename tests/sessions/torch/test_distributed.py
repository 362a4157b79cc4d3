"""What of torch.distributed needs no second process: its store, and a module that is wrapped."""

from typing import Any

import pytest
import torch
from torch import nn

from warmstart.processes import ALONE
from warmstart.sessions.torch.distributed import C10dStore, is_wrapped, processes, unwrapped
from warmstart.sessions.torch.session import TorchSession


class GoneStore:
    """A store whose server has died."""

    def fail(self, *args: Any) -> Any:
        raise RuntimeError("Connection reset by peer\nException raised from recvBytes at ...")

    set = get = check = delete_key = fail


def test_values_come_as_they_were_put() -> None:
    store = C10dStore(torch.distributed.HashStore())
    assert store.get("a", 0.01) is None
    store.put("a", b"\0\xff")
    assert store.get("a", 0) == b"\0\xff"
    store.delete("a")
    assert store.get("a", 0) is None


@pytest.mark.parametrize(
    "ask", [lambda s: s.put("a", b""), lambda s: s.get("a", 0), lambda s: s.delete("a")]
)
def test_a_store_that_is_gone(ask: Any) -> None:
    with pytest.raises(ConnectionError) as caught:
        ask(C10dStore(GoneStore()))
    assert str(caught.value) == (
        "the store of torch.distributed does not answer: Connection reset by peer"
    )


def test_without_a_group_a_process_is_alone() -> None:
    module = nn.Linear(2, 2)
    assert processes() is ALONE
    assert TorchSession(module).processes is ALONE
    assert TorchSession(module).pieces == {}
    assert unwrapped(module) is module
    assert not is_wrapped(module)
