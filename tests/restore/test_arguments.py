"""Arguments of the wrong kind for rules as functions: each is named, beside a right call."""

import re

import numpy as np
import pytest

import warmstart as ws
from warmstart.restore.arguments import EXAMPLES


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ws.transpose("x", (1, 0)), "an axis is (1, 0); transpose expects whole numbers o"),
        (lambda: ws.transpose((1, 0), "x"), "pattern is (1, 0); transpose expects a pattern there"),
        (lambda: ws.transpose("x", "1 0"), "an axis is '1 0'; transpose expects whole numbers one"),
        (lambda: ws.transpose("x", 1.0, True), "an axis is 1.0; transpose expects whole numbers"),
        (lambda: ws.reshape("x", (3, 4)), "a size is (3, 4); reshape expects whole numbers one by"),
        (lambda: ws.cast("x", np.float32), "dtype is <class 'numpy.float32'>; cast expects a stri"),
        (lambda: ws.slice_axis("x", "0:3"), "begin is '0:3'; slice_axis expects a whole number"),
        (lambda: ws.slice_axis("x", 0, axis=None), "axis is None; slice_axis expects a whole numb"),
        (lambda: ws.pad("x", "1", 2), "before is '1'; pad expects a whole number there, as in ws."),
        (lambda: ws.pad("x", 1, 2, fill="0"), "fill is '0'; pad expects a number there, as in ws."),
        (lambda: ws.flip("x", (0,)), "an axis is (0,); flip expects whole numbers one by one ther"),
        (lambda: ws.concatenate("ab", "c"), "inputs is 'ab'; concatenate expects a list of string"),
        (lambda: ws.concatenate(["a", "b"], ["c"]), "new is ['c']; concatenate expects a string"),
        (lambda: ws.split("a", "bc"), "new is 'bc'; split expects a list of strings there, as in "),
        (
            lambda: ws.split("a", ["b", "c"], sizes=[1, "2"]),
            "a size is '2'; split expects whole nu",
        ),
        (lambda: ws.stack(["a.#"], "b"), "old is ['a.#']; stack expects a string there, as in ws."),
        (lambda: ws.unstack("a", None), "new is None; unstack expects a string there, as in ws.un"),
        (lambda: ws.fit("x", None), "policy is None; fit expects a string there, as in ws.fit('he"),
        (lambda: ws.fit("x", "interpolate", grid="1"), "grid is '1'; fit expects a whole number"),
        (lambda: ws.scope("a", ["b"]), "new is ['b']; scope expects a string there, as in ws.scop"),
        (lambda: ws.rename(None, "a"), "pattern is None; rename expects a pattern there, as in ws"),
        (lambda: ws.rename("a", len), "replacement is <built-in function len>; rename expects a s"),
        (lambda: ws.vocab(1, ["a"], ["b"]), "pattern is 1; vocab expects a pattern there, as in w"),
        (lambda: ws.carry("x", None, "torch", "keras"), "kind is None; carry expects a string the"),
    ],
)
def test_what_is_of_the_wrong_kind_is_named_beside_a_right_call(call, message):
    with pytest.raises(TypeError, match=re.escape(message)) as caught:
        call()
    assert str(caught.value).partition("as in ")[2] in EXAMPLES.values()


def test_numbers_of_numpy_will_do():
    axes = np.array([1, 0])
    assert str(ws.transpose("x", *axes)) == "transpose x: 1 0"
    assert str(ws.pad("x", axes[1], axes[0], fill=np.float32(2))) == "pad x: axis 0 0:1 with 2"


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_calls_are_right(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("old.txt", "new.txt"):
        (tmp_path / name).write_text("a\nb\n")
    assert str(eval(EXAMPLES[verb], {"ws": ws})).startswith(verb.removesuffix("_axis"))
