"""freeze_variables enters the hook of every framework in use."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

import warmstart as ws
from warmstart.errors import FreezeError
from warmstart.freezing import context


@pytest.fixture
def entered(monkeypatch):
    """Two engines with a hook and one without; what their hooks were called with."""
    calls = []

    @contextmanager
    def hook(stop_gradient, skip_collection):
        calls.append((stop_gradient, skip_collection))
        yield
        calls.append("left")

    engine = SimpleNamespace(freeze_variables=hook)
    monkeypatch.setattr(context, "live_engines", lambda: [engine, SimpleNamespace(), engine])
    return calls


def test_every_hook_is_entered_and_left(entered):
    with ws.freeze_variables():
        assert entered == [(True, False)] * 2
    assert entered == [(True, False)] * 2 + ["left"] * 2


def test_both_options_are_handed_on(entered):
    with ws.freeze_variables(stop_gradient=False, skip_collection=True):
        assert entered[0] == (False, True)


def test_with_neither_option_nothing_changes(entered):
    with ws.freeze_variables(stop_gradient=False, skip_collection=False):
        assert entered == []


def test_without_a_framework_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(context, "live_engines", lambda: [SimpleNamespace()])
    with pytest.raises(FreezeError, match=r"no framework .* import torch or tensorflow before"):
        ws.freeze_variables().__enter__()
