"""Errors are named with their place, once, and a missing name is a KeyError that reads well."""

import pytest

from warmstart.errors import CheckpointError, CorruptCheckpoint, NoSuchTensor, full_text, noting


def test_a_place_is_added_once() -> None:
    with (
        pytest.raises(CorruptCheckpoint) as caught,
        noting("while reading a"),
        noting("in the member w"),
        noting("in the member w"),
    ):
        raise CorruptCheckpoint("it is broken")
    assert full_text(caught.value) == "it is broken\nin the member w\nwhile reading a"


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(ZeroDivisionError) as caught, noting("while reading a"):
        _ = 1 / 0
    assert full_text(caught.value) == "division by zero"


def test_a_block_without_an_error() -> None:
    with noting("while reading a"):
        value = 1
    assert value == 1


def test_a_missing_tensor_is_a_key_error_without_the_quotes() -> None:
    error = NoSuchTensor("there is no tensor 'w'")
    assert isinstance(error, KeyError)
    assert isinstance(error, CheckpointError)
    assert str(error) == "there is no tensor 'w'"
