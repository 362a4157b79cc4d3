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


def test_what_was_made_is_as_old_as_can_be() -> None:
    with collection_paused():
        made = [[number] for number in range(5_000)]
    old = set(map(id, gc.get_objects(generation=2)))
    assert all(id(item) in old for item in made)


def test_what_is_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with collection_paused():
            pass
        assert gc.get_freeze_count() == frozen > 0
    finally:
        gc.unfreeze()
