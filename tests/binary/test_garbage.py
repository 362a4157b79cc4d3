"""The search for garbage goes on after the block as before it."""

import gc
from collections.abc import Iterator

import pytest

from warmstart.binary.garbage import collection_paused


@pytest.fixture(autouse=True)
def _collecting() -> Iterator[None]:
    yield
    gc.enable()


def test_no_search_in_the_block_and_one_after_it() -> None:
    with collection_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_search_that_was_off_stays_off() -> None:
    gc.disable()
    with collection_paused():
        pass
    assert not gc.isenabled()


def test_an_error_in_the_block_lets_the_search_go_on() -> None:
    with pytest.raises(ValueError, match="read"), collection_paused():
        raise ValueError("read")
    assert gc.isenabled()
