"""Free memory is given back while a model is filled."""

import platform
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

import warmstart as ws
from warmstart.sessions.jax import memory

GLIBC = platform.libc_ver()[0] == "glibc"


def test_memory_is_given_back_each_time_enough_has_been_replaced(monkeypatch):
    trims = []
    monkeypatch.setattr(memory, "ENOUGH", 100)
    monkeypatch.setattr(memory, "trim", lambda: trims.append(session.read("w2")[0]))
    session = ws.session_for({f"w{i}": jnp.zeros(15) for i in range(4)})
    session.assign({f"w{i}": np.ones(15, np.float32) for i in range(4)}.items())
    assert trims == [0, 1]  # 60 bytes each: after the second and after the last


def test_a_c_library_that_cannot_is_not_asked(monkeypatch):
    monkeypatch.setattr(memory, "CDLL", lambda _: SimpleNamespace())
    memory.malloc_trim.cache_clear()
    memory.trim()
    assert memory.malloc_trim() is None
    memory.malloc_trim.cache_clear()


@pytest.mark.skipif(not GLIBC, reason="only glibc gives free memory back when it is told to")
def test_glibc_is_told():
    held = [np.ones(100_000, np.int8) for _ in range(500)]
    before = resident()
    del held[:-1]  # the last one keeps the end of the heap, so that the rest stays in the middle
    memory.trim()
    assert resident() < before - 40_000
    assert held[0].all()


def resident():
    """Return the anonymous memory of this process, in kB."""
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("RssAnon")).split()[1])
