"""The arguments of rules as functions: what is of the wrong kind is said beside a right call."""

import re
from collections.abc import Iterable
from typing import Any

#: verb -> a call as it should be.
EXAMPLES = {
    "rename": r"ws.rename(r'layer(\d+)/w', r'block\1/kernel')",
    "scope": "ws.scope('encoder.layers.*', 'encoder/block*')",
    "transpose": "ws.transpose('fc.weight', 1, 0)",
    "reshape": "ws.reshape('fc.weight', 3, 4, -1)",
    "cast": "ws.cast('*', 'bfloat16')",
    "slice_axis": "ws.slice_axis('emb', 0, 100, axis=0)",
    "pad": "ws.pad('emb', 0, 10, axis=0, fill=0)",
    "flip": "ws.flip('conv.weight', 0, 1)",
    "concatenate": "ws.concatenate(['q', 'k', 'v'], 'qkv', axis=0)",
    "split": "ws.split('qkv', ['q', 'k', 'v'], axis=0)",
    "stack": "ws.stack('layers.#.w', 'layers.w')",
    "unstack": "ws.unstack('layers.w', 'layers.#.w')",
    "fit": "ws.fit('head.weight', 'pad')",
    "vocab": "ws.vocab('emb', 'old.txt', 'new.txt')",
    "carry": "ws.carry('encoder.*', 'dense', 'torch', 'keras')",
}


def are_patterns(verb: str, **given: Any) -> None:
    """Raise TypeError unless all that is *given* is a glob or a compiled regex."""
    refuse(verb, given, lambda value: isinstance(value, str | re.Pattern), "a pattern")


def are_texts(verb: str, **given: Any) -> None:
    """Raise TypeError unless all that is *given* is a string."""
    refuse(verb, given, lambda value: isinstance(value, str), "a string")


def are_lists(verb: str, **given: Any) -> None:
    """Raise TypeError unless all that is *given* is a list of strings."""
    refuse(verb, given, is_list_of_texts, "a list of strings")


def are_whole(verb: str, **given: Any) -> None:
    """Raise TypeError unless all that is *given* is a whole number, of Python or of NumPy."""
    refuse(verb, given, is_whole, "a whole number")


def are_all_whole(verb: str, field: str, values: Iterable[Any]) -> None:
    """Raise TypeError unless all *values* of *field*, given one by one, are whole numbers."""
    for value in values:
        refuse(verb, {field: value}, is_whole, "whole numbers one by one")


def are_numbers(verb: str, **given: Any) -> None:
    """Raise TypeError unless all that is *given* is a number."""
    refuse(verb, given, lambda v: is_whole(v) or hasattr(v, "__float__"), "a number")


def refuse(verb: str, given: dict[str, Any], is_right: Any, expected: str) -> None:
    """Raise TypeError, with an example of *verb*, for the first of *given* that is not right."""
    for field, value in given.items():
        if not is_right(value):
            raise TypeError(
                f"{field} is {value!r}; {verb} expects {expected} there, as in {EXAMPLES[verb]}"
            )


def is_list_of_texts(value: Any) -> bool:
    """Return whether *value* is a list or a tuple of strings."""
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def is_whole(value: Any) -> bool:
    """Return whether *value* is a whole number, of Python or of NumPy."""
    return hasattr(value, "__index__") and not isinstance(value, bool)
