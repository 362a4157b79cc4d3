"""Variables made of tensors by recipes: plans, values, reports, and what is read how often."""

import numpy as np
import pytest

from warmstart.errors import NameConflict, RestoreMismatch
from warmstart.restore.matching import make_plan
from warmstart.restore.plan import Part
from warmstart.restore.recipe import Made, Taken, made
from warmstart.restore.rules import Seen, apply
from warmstart.restore.run import carry_out
from warmstart.restore.steps import Concatenate, Flip, Slice, Stack, Take, Transpose
from warmstart.source import DictSource, Source
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

W = np.arange(6, dtype=np.float32).reshape(2, 3)
Q, K = np.zeros((2, 3), np.float32), np.ones((4, 3), np.float32)


class Reads(Source):
    """Arrays that note each read, as a file would be read."""

    def __init__(self, arrays):
        self._source = DictSource(arrays)
        self.names = []

    @property
    def specs(self):
        return self._source.specs

    def read(self, name):
        self.names.append(name)
        return self._source.read(name)


def model(**shapes):
    return MemorySession(TensorSpec(n, "float32", s, "trainable") for n, s in shapes.items())


def restored(source, origin, session):
    parts = [Part(source, origin, "it")]
    return carry_out(make_plan(parts, session), parts, session)


def test_a_variable_gets_what_its_recipe_makes():
    session = model(w=(3, 2), qk=(6, 3))
    origin = {
        "w": made(Flip((0,)), made(Transpose(), "a")),
        "qk": made(Concatenate(0), "q", "k"),
    }
    report = restored(DictSource({"a": W, "q": Q, "k": K}), origin, session)
    assert session.arrays["w"].tolist() == W.T[::-1].tolist()
    assert session.arrays["w"].flags.c_contiguous
    assert session.arrays["qk"].tolist() == np.concatenate([Q, K]).tolist()
    assert report.transformed == {"w": "transpose, flip 0", "qk": "concatenate axis 0"}
    assert str(report).splitlines() == [
        "2 variables: 2 loaded",
        "  loaded  w   from it, renamed, transpose, flip 0",
        "  loaded  qk  from it, renamed, concatenate axis 0",
    ]
    assert report.to_dict()["sources"][0]["tensors"] == dict.fromkeys("aqk", "loaded")


def test_a_tensor_for_several_variables_is_read_once_in_each_pass():
    source = Reads({"k": K, "qkv": np.concatenate([K, K + 1]), "a": W})
    origin = {
        "q": made(Slice(0, 0, 4), "qkv"), "a": Taken("a"), "v": made(Slice(0, 4, 8), "qkv")
    }  # fmt: skip
    session = model(q=(4, 3), v=(4, 3), a=(2, 3))
    restored(source, origin, session)
    assert source.names == ["qkv", "a"] * 2
    assert session.order == ["q", "v", "a"]
    assert session.arrays["v"].tolist() == (K + 1).tolist()


def test_a_misfit_says_what_was_done():
    with pytest.raises(RestoreMismatch, match=r"checkpoint float32 \(3, 2\) after transpose"):
        restored(DictSource({"w": W}), {"w": made(Transpose(), "w")}, model(w=(2, 3)))


def test_the_same_tensor_made_otherwise_is_another():
    origin = {"w": Taken("w"), "w:0": made(Flip((0,)), "w")}
    with pytest.raises(NameConflict, match="'w' and 'w' are both 'w'"):
        make_plan([Part(DictSource({"w": W}), origin, "it")], model(w=(2, 3)))


def test_what_is_made_twice_for_a_tied_variable_must_be_equal():
    session = MemorySession([TensorSpec("emb", "float32", (3, 2), "trainable")], {"head": "emb"})
    origin = {"emb": made(Transpose(), "a"), "head": Taken("b")}
    restored(DictSource({"a": W, "b": W.T}), origin, session)
    assert session.arrays["emb"].tolist() == W.T.tolist()
    with pytest.raises(NameConflict, match="'a' and 'b' differ, and both are 'emb'"):
        restored(DictSource({"a": W, "b": W.T + 1}), origin, session)


def test_an_alias_in_a_recipe_is_its_tensor():
    source = DictSource({"emb": W}, aliases={"head": "emb"})
    origin = {"emb": made(Transpose(), "emb"), "head": made(Transpose(), "head")}
    plan = make_plan([Part(source, origin, "it")], model(emb=(3, 2), head=(3, 2)))
    assert {m.old: m.recipe for m in plan.matches.values()} == {
        name: Made(Transpose(), (Taken("emb"),)) for name in ("emb", "head")
    }


def test_what_a_stack_is_taken_apart_into_needs_one_tensor_each():
    specs = {f"a.{i}": TensorSpec(f"a.{i}", "float32", (2, 2)) for i in range(300)}
    back = apply(["stack a.# -> a", "unstack a -> b.#"], Seen(specs)).origin
    assert back == {f"b.{i}": Taken(f"a.{i}") for i in range(300)}
    two = {name: specs[name] for name in ("a.0", "a.1")}
    across = apply(["stack a.# -> a", "unstack a -> b.#: axis 1"], Seen(two)).origin
    stacked = Made(Stack(0), (Taken("a.0"), Taken("a.1")))
    assert across == {f"b.{i}": Made(Take(1, i), (stacked,)) for i in range(2)}
