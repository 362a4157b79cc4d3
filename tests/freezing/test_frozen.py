"""Freezing by name, the proof, and thawing, without an engine."""

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import FreezeError
from warmstart.freezing.frozen import hash_of, sides_beyond
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("enc/*", ("enc/w", "enc/b")),
        ("re:enc/[b]", ("enc/b",)),
        (["scalar", "enc/w"], ("enc/w", "scalar")),
        ("head", ("emb",)),
        ("*", ("enc/w", "enc/b", "emb", "scalar")),
    ],
)
def test_patterns_choose_variables_and_no_slots(patterns, names, session):
    assert ws.freeze(session, patterns).names == names


def test_patterns_that_match_nothing_are_all_named(session):
    with pytest.raises(FreezeError) as caught:
        ws.freeze(session, ["enc/*", "encoder/w", "enc/w/m", "re:x+", ""])
    assert str(caught.value).splitlines() == [
        "these patterns match none of 5 variables:",
        "  encoder/w    near it: enc/w",
        "  enc/w/m    near it: enc/w, enc/b",
        "  re:x+",
        "  ''",
    ]
    assert session.held == set()


@pytest.mark.parametrize("patterns", [None, 5, ["enc/*", None]])
def test_what_is_no_pattern_is_refused(patterns, session):
    with pytest.raises(TypeError, match=r"a pattern is a string or a .*; not (None|5)$"):
        ws.freeze(session, patterns)


def test_no_pattern_is_refused(session):
    with pytest.raises(FreezeError, match="nothing to freeze: no pattern is given"):
        ws.freeze(session, [])


def test_parts_that_a_variable_does_not_have_are_all_named(session):
    patterns = {
        "enc/w": np.s_[:100, -4:],
        "emb": np.s_[1:1],
        "enc/b": np.s_[0, 0],
        "re:em.": np.s_[..., :2],
        "scalar": np.s_[None, ..., None],
    }
    with pytest.raises(FreezeError) as caught:
        ws.freeze(session, patterns)
    assert str(caught.value).splitlines() == [
        "these parts of variables cannot be frozen:",
        "  enc/w float32 (2, 3): :100 goes beyond the 2 along axis 0, "
        "-4: goes beyond the 3 along axis 1",
        "  emb float32 (2,): slice(1, 1, None) is no part of it",
        "  enc/b bfloat16 (3,): too many indices for array: array is 1-dimensional, "
        "but 2 were indexed",
        "  emb: more than one pattern means it",
    ]
    assert session.held == set()


def test_a_slice_behind_a_mask_goes_beyond_its_own_axis(session):
    mask = np.ones((2, 3), bool)
    assert sides_beyond((2, 3, 4), (mask, slice(5))) == [":5 goes beyond the 4 along axis 2"]
    assert sides_beyond((2, 3), (None, [0, 1], slice(-3, 3))) == []


def test_what_is_frozen_stays_and_the_rest_moves(session):
    frozen = ws.freeze(session, "enc/*")
    session.train(3)
    assert set(frozen.verify()) == {"enc/w", "enc/b"}
    assert session.arrays["emb"].tolist() == [2, 2]


def test_all_that_moved_is_named(session):
    frozen = ws.freeze(session, "*")
    session.arrays["enc/w"][0, 0] += 1
    session.arrays["scalar"] = np.float64(-0.0)
    with pytest.raises(FreezeError, match=r"2 of 4 frozen variables moved: 'enc/w', 'scalar'; som"):
        frozen.verify()


def test_a_value_set_on_purpose_is_the_one_to_be_kept(session):
    frozen = ws.freeze(session, "emb")
    ws.DictRestore({"head": np.array([7, 8.0])}).init(session)
    frozen.verify()
    session.assign([("emb", np.array([1, 2], np.float32))])
    frozen.verify()


def test_a_variable_without_a_value_cannot_be_proved():
    session = MemorySession([TensorSpec("w", "float32", (2,), "trainable")])
    frozen = ws.freeze(session, "w")
    with pytest.raises(FreezeError, match="'w' had no value when frozen, so there is nothing to c"):
        frozen.verify()


def test_an_initial_value_given_later_is_the_one_to_be_kept():
    session = MemorySession([TensorSpec("w", "float32", (2,), "trainable")])
    frozen = ws.freeze(session, "w")
    ws.SmartInit(None).init(session)
    assert set(frozen.verify()) == {"w"}


def test_thawed_variables_move_again(session):
    frozen = ws.freeze(session, "emb")
    frozen.thaw()
    frozen.thaw()  # once more does nothing
    session.train(1)
    assert session.arrays["emb"].tolist() == [0, 0]
    with pytest.raises(FreezeError, match="these variables were thawed"):
        frozen.verify()


def test_as_a_context_it_thaws_at_the_end(session):
    with ws.freeze(session, "emb") as frozen:
        session.train(1)
        frozen.verify()
    session.train(1)
    assert session.arrays["emb"].tolist() == [0, 0]


def test_a_hash_knows_the_dtype_the_shape_and_every_bit():
    arrays = [
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(4, np.int32),
        -np.zeros(4, np.float32),
        np.zeros(0, np.float32),
        np.zeros((), np.float32),
        np.array([b"a", b"b"], object),
        np.array([b"ab", b""], object),
    ]
    assert len({hash_of(array) for array in arrays}) == len(arrays)
    assert hash_of(np.ones((3, 2))[::-1].T) == hash_of(np.ones((2, 3)))


def test_an_assignment_under_another_name_of_a_tied_variable_is_no_move(session):
    frozen = ws.freeze(session, "emb")
    session.assign([("head", np.ones_like(session.read("emb")))])
    assert set(frozen.verify()) == {"emb"}


def test_it_says_how_many_variables_are_held_and_which(session):
    frozen = ws.freeze(session, ["enc/*", "emb"])
    assert repr(frozen) == "<Frozen: 3 variables held still: enc/{b,w}, emb>"
    frozen.thaw()
    assert repr(frozen).startswith("<Frozen: 3 variables thawed: ")


def test_it_does_not_say_all_of_many():
    session = MemorySession(
        [TensorSpec(name, "float32", (2,), "trainable") for name in map(chr, range(97, 123))]
    )
    frozen = ws.freeze(session, "*")
    assert len(repr(frozen)) < 200


@pytest.mark.parametrize(
    ("patterns", "told"),
    [(np.ones((1000, 2)), "a numpy.ndarray"), ([np.ones(2), np.zeros(3)], "a numpy.ndarray"),
     (np.float32(3), "a numpy.float32"), (ws.freeze, "the function freeze"), (str, "the class str"),
     (b"enc", "b'enc'"), ((each for each in (1, 2)), "a generator"), ({5: ...}, "5")],
)  # fmt: skip
def test_what_is_no_pattern_is_told_in_few_words(patterns, told, session):
    with pytest.raises(TypeError) as caught:
        ws.freeze(session, patterns)
    assert str(caught.value) == (
        f"a pattern is a string or a compiled regex, or a list of these; not {told}"
    )
