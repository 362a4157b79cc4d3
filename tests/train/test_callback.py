from collections.abc import Mapping
from typing import Any

import pytest

from warmstart.train.callback import BEST, MONITOR, SAVER, Callback, in_turn, listed, overrides


def test_functions_take_the_place_of_methods() -> None:
    seen: list[Any] = []
    callback = Callback(start=seen.append, state=lambda: {"a": 1}, load_state=seen.append, key="k")
    callback.start("trainer")  # type: ignore[arg-type]
    callback.load_state({"a": 2})
    assert (seen, callback.state(), callback.key) == (["trainer", {"a": 2}], {"a": 1}, "k")


def test_turns_come_before_the_order_given() -> None:
    callbacks = [Callback(key=key) for key in "abcde"]
    for callback, turn in zip(callbacks, (SAVER, 0, BEST, MONITOR, 0), strict=True):
        callback.turn = turn
    assert [callback.key for callback in in_turn(callbacks)] == ["b", "e", "d", "c", "a"]


def test_only_what_does_something_overrides() -> None:
    class Mine(Callback):
        def after_step(self, trainer: Any, metrics: Mapping[str, float]) -> None: ...

    assert overrides(Mine(), "after_step")
    assert overrides(Callback(after_step=lambda trainer, metrics: None), "after_step")
    assert not overrides(Callback(start=lambda trainer: None), "after_step")


def test_half_a_state_is_refused() -> None:
    with pytest.raises(ValueError, match="needs both state= and load_state="):
        Callback(state=dict)


def test_a_state_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a key= to be saved under"):
        Callback(state=dict, load_state=lambda state: None)


class Counting(Callback):
    def state(self) -> dict[str, Any]:
        return {}


def test_a_class_with_half_a_state_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Counting has a state\(\) and no load_state\(\)"):
        in_turn([Counting(key="k")])


def test_a_class_whose_state_has_no_key_is_refused() -> None:
    class Keyless(Counting):
        def load_state(self, state: Mapping[str, Any]) -> None: ...

    with pytest.raises(ValueError, match=r"Keyless has a state\(\) and no key.*key = 'keyless'"):
        in_turn([Keyless()])


def test_a_class_is_no_callback() -> None:
    with pytest.raises(
        TypeError, match=r"^Callback is a class; a callback is an .*: Callback\(\)$"
    ):
        in_turn([Callback])  # type: ignore[list-item]


def test_a_callback_alone_is_no_list() -> None:
    with pytest.raises(TypeError, match=r"callbacks is a Callback, not a list: callbacks=\[Call"):
        listed(Callback())  # type: ignore[arg-type]
