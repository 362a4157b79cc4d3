"""Variables that follow a vocabulary: which row is whose, what new rows hold, what is refused."""

from collections import namedtuple
from itertools import product

import ml_dtypes
import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import CheckpointError, RestoreMismatch, RuleError
from warmstart.restore import vocab
from warmstart.restore.recipe import made, spec_from, value_from
from warmstart.restore.remap import Places, Remap, Zeros
from warmstart.restore.vocab import as_vocab_infos, places_in, words_of
from warmstart.spec import TensorSpec, dtype_name, spec_of
from warmstart.testing.memory import MemorySession

OLD = ["b", "a", "c", "e"]
NEW = ["a", "x", "c", "y", "b"]
PLACES = [1, -1, 2, -1, 0, -1, -1]  # with two buckets

DTYPES = ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "int32", "int8", "uint16",
          "bool", "complex64"]  # fmt: skip


def old_values(shape, dtype="float32"):
    """Return values of which no two rows are alike, as far as the dtype can tell them apart."""
    count = np.arange(1, np.prod(shape) + 1).reshape(shape)
    return (count % 2 if dtype == "bool" else count).astype(TensorSpec("", dtype, ()).numpy_dtype)


def by_hand(old, places, axis, fresh=0):
    """Return what comes of *old*, one row after the other."""
    moved = np.moveaxis(old, axis, 0)
    rows = [moved[i] if i >= 0 else np.full_like(moved[0], fresh) for i in places]
    return np.moveaxis(np.stack(rows), 0, axis)


def start(tmp_path, old, info, *, choice=".*", arrays=(), specs=(), **options):
    """Return the session after a warm start of `emb` from *old*, and the report."""
    infos = as_vocab_infos(info)
    shape = list(old.shape)
    for each in infos:
        shape[each.axis] = each.size
    emb = TensorSpec("emb", dtype_name(old.dtype), tuple(shape), "trainable")
    session = MemorySession([emb, *specs])
    ws.save_vars({"emb": old, **dict(arrays)}, tmp_path / "base.npz")
    settings = ws.WarmStartSettings(tmp_path / "base.npz", choice, {"emb": info}, **options)
    return session, settings.init(session)


def axes():
    return [(rank, axis) for rank in (1, 2, 3, 4) for axis in range(-rank, rank)]


@pytest.mark.parametrize(("rank", "axis"), axes())
def test_any_axis_of_any_rank(rank, axis, tmp_path):
    shape = [2, 3, 2, 3][:rank]
    shape[axis] = len(OLD)
    old = old_values(shape)
    session, _ = start(tmp_path, old, ws.VocabInfo(NEW, 5, 2, OLD, axis=axis))
    assert np.array_equal(session.arrays["emb"], by_hand(old, PLACES, axis))


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_dtype(dtype, tmp_path):
    old = old_values((4, 3), dtype)
    session, _ = start(tmp_path, old, ws.VocabInfo(NEW, 5, 2, OLD))
    found = session.arrays["emb"]
    assert found.dtype == old.dtype
    assert found.tobytes() == by_hand(old, PLACES, 0).tobytes()


def test_strings_are_empty_in_new_rows():
    old = np.array([b"B", b"A"], object)
    remap = Remap((Places(0, np.array([1, -1, 0]), Zeros(), ""),))
    assert remap.value([old]).tolist() == [b"A", b"", b"B"]


def test_values_are_cast_after_they_are_remapped(tmp_path):
    old = old_values((4, 2), "float64")
    ws.save_vars({"emb": old}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec("emb", "bfloat16", (5, 2), "trainable")])
    info = {"emb": ws.VocabInfo(NEW, 5, 0, OLD)}
    report = ws.WarmStartSettings(tmp_path / "base.npz", ".*", info).init(session)
    assert session.arrays["emb"].dtype == ml_dtypes.bfloat16
    assert session.arrays["emb"].tolist() == by_hand(old, PLACES[:5], 0).tolist()
    assert report.cast == {"emb": "float64 -> bfloat16"}


def test_what_was_read_is_not_changed(tmp_path):
    old = old_values((4, 2))
    before = old.copy()
    Remap((Places(0, np.array([-1, 1]), Zeros(), ""),)).value([old])
    assert np.array_equal(old, before)


def test_two_axes_at_once(tmp_path):
    old = old_values((4, 3))
    rows = ws.VocabInfo(NEW, 5, 2, OLD, backup_initializer=lambda s, d: np.full(s, -5, d))
    columns = ws.VocabInfo(["z", "w"], 2, 1, ["w", "v", "z"], axis=1)
    session, _ = start(tmp_path, old, [rows, columns])
    expected = by_hand(by_hand(old, PLACES, 0, fresh=-5), [2, 0, -1], 1)
    assert np.array_equal(session.arrays["emb"], expected)


def test_only_the_first_words_count(tmp_path):
    old = old_values((2, 2))
    session, _ = start(tmp_path, old, ws.VocabInfo(["c", "a", "b"], 2, 0, ["b", "a", "c"], 2))
    assert session.arrays["emb"].tolist() == [[0, 0], [3, 4]]


def test_the_report_counts_rows(tmp_path):
    _, report = start(tmp_path, old_values((4, 2)), ws.VocabInfo(NEW, 5, 2, OLD))
    text = "vocabulary a list of 4 words -> a list of 5 words along axis 0: 3 kept, 4 new (zeros)"
    assert report.transformed == {"emb": text}


def test_a_report_without_new_rows_says_nothing_of_them(tmp_path):
    _, report = start(tmp_path, old_values((2, 2)), ws.VocabInfo(["b", "a"], 2, 0, ["a", "b"]))
    assert report.transformed["emb"].endswith("along axis 0: 2 kept")


# What new rows hold


def test_a_function_is_asked_for_all_new_rows_together(tmp_path):
    asked = []

    def initializer(shape, dtype):
        asked.append((shape, dtype))
        return np.full(shape, 9, dtype)

    old = old_values((3, 4, 2), "float16")
    info = ws.VocabInfo(NEW, 5, 2, OLD, -1, initializer, 1)
    session, report = start(tmp_path, old, info)
    assert asked == [((3, 4, 2), np.dtype("float16"))]
    assert np.array_equal(session.arrays["emb"], by_hand(old, PLACES, 1, fresh=9))
    assert "initializer)" in report.transformed["emb"]


def test_a_function_is_not_asked_for_nothing(tmp_path):
    info = ws.VocabInfo(["b", "a"], 2, 0, ["a", "b"], -1, pytest.fail)
    session, _ = start(tmp_path, old_values((2, 1)), info)
    assert session.arrays["emb"].tolist() == [[2], [1]]


def test_the_models_own_rows_stay(tmp_path):
    old = old_values((4, 2))
    ws.save_vars({"emb": old}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec("emb", "float32", (7, 2), "trainable")])
    own = -old_values((7, 2))
    session.arrays["emb"] = own.copy()
    info = {"emb": ws.VocabInfo(NEW, 5, 2, OLD, -1, "model")}
    report = ws.WarmStartSettings(tmp_path / "base.npz", ".*", info).init(session)
    expected = by_hand(old, PLACES, 0)
    for row in (1, 3, 5, 6):
        expected[row] = own[row]
    assert np.array_equal(session.arrays["emb"], expected)
    assert report.transformed["emb"].endswith("4 new (the model's own)")


def test_the_models_own_rows_need_values(tmp_path):
    """An engine that cannot say what a variable would begin with refuses."""
    info = ws.VocabInfo(NEW, 5, 2, OLD, -1, "model")
    with pytest.raises(CheckpointError, match="'emb' has no value yet"):
        start(tmp_path, old_values((4, 2)), info)


@pytest.mark.parametrize("source", ["a file", "a dict"])
def test_new_rows_that_do_not_fit_are_refused_before_anything_is_assigned(source, tmp_path):
    info = ws.VocabInfo(NEW, 5, 2, OLD, -1, lambda shape, dtype: np.zeros((3, 2), dtype))
    session = MemorySession(
        [TensorSpec(name, "float32", (7, 2), "trainable") for name in ("another", "emb")]
    )
    arrays = {"emb": old_values((4, 2)), "another": old_values((7, 2))}
    ws.save_vars(arrays, tmp_path / "base.npz")
    settings = ws.WarmStartSettings(tmp_path / "base.npz", ".*", {"emb": info})
    with pytest.raises(RestoreMismatch) as caught:
        settings.init(session)
    assert str(caught.value).startswith("the new rows of 'emb' are float32 (4, 2); ")
    assert str(caught.value).endswith("<lambda> gave float32 (3, 2)")
    assert session.order == []


def test_a_function_that_fails_later_cannot_leave_a_model_half_set(tmp_path):
    """All is drawn before the first assignment, and kept no longer than until it is assigned."""
    asked = []

    def initializer(shape, dtype):
        asked.append(shape)
        if len(asked) > 1:
            raise OSError("no entropy left")
        return np.full(shape, 9, dtype)

    info = ws.VocabInfo(NEW, 5, 2, OLD, -1, initializer)
    session, report = start(tmp_path, old_values((4, 2)), info)
    assert session.arrays["emb"][1].tolist() == [9, 9]
    assert asked == [(4, 2)]
    (places,) = report.plan.matches["emb"].recipe.step.places
    assert places.filling.kept == {}


# Slots


def slots(shape):
    return [
        TensorSpec("emb/m", "float32", shape, "slot"),
        TensorSpec("emb/step", "float32", (), "slot"),
        TensorSpec("emb/row", "float32", (shape[0], 1), "slot"),
        TensorSpec("emb/column", "float32", (1, shape[1]), "slot"),
    ]


def slot_values(shape):
    return {
        "emb/m": 10 * old_values(shape),
        "emb/step": np.float32(3),
        "emb/row": old_values((shape[0], 1)),
        "emb/column": old_values((1, shape[1])),
    }


@pytest.mark.parametrize(
    ("choice", "options"), [([".*"], {}), (["emb"], {}), (".*", {"slots": True})]
)
def test_slots_follow_their_rows(choice, options, tmp_path):
    old, values = old_values((4, 2)), slot_values((4, 2))
    info = ws.VocabInfo(NEW, 5, 2, OLD, -1, lambda shape, dtype: np.full(shape, 9, dtype))
    session, _ = start(
        tmp_path, old, info, choice=choice, arrays=values, specs=slots((7, 2)), **options
    )
    assert np.array_equal(session.arrays["emb/m"], by_hand(values["emb/m"], PLACES, 0))
    assert np.array_equal(session.arrays["emb/row"], by_hand(values["emb/row"], PLACES, 0))
    assert np.array_equal(session.arrays["emb/column"], values["emb/column"])
    assert session.arrays["emb/step"] == 3


def test_slots_are_left_alone_unless_chosen(tmp_path):
    _, report = start(
        tmp_path,
        old_values((4, 2)),
        ws.VocabInfo(NEW, 5, 2, OLD),
        arrays=slot_values((4, 2)),
        specs=slots((7, 2)),
    )
    assert report.loaded == ("emb",)


def test_a_vocabulary_of_its_own_goes_before_that_of_the_variable(tmp_path):
    old, values = old_values((4, 2)), slot_values((4, 2))
    session, _ = start(
        tmp_path, old, ws.VocabInfo(NEW, 5, 2, OLD), arrays=values, specs=slots((7, 2))
    )
    nines = ws.VocabInfo(NEW, 5, 2, OLD, -1, lambda shape, dtype: np.full(shape, 9, dtype))
    infos = {"emb": ws.VocabInfo(NEW, 5, 2, OLD), "emb/m": nines}
    ws.WarmStartSettings(tmp_path / "base.npz", ["emb"], infos).init(session)
    assert np.array_equal(session.arrays["emb/m"], by_hand(values["emb/m"], PLACES, 0, fresh=9))


@pytest.mark.parametrize("choice", [["emb"], ["emb.*"]])
def test_slots_that_are_yet_to_be_made_follow_under_the_earlier_name(choice, tmp_path):
    ws.save_vars(
        {"words": old_values((4, 2)), "words/m": 10 * old_values((4, 2))}, tmp_path / "base.npz"
    )
    emb = TensorSpec("emb", "float32", (7, 2), "trainable")
    session = MemorySession([emb], slots_to_come=["emb/m"])
    report = ws.WarmStartSettings(
        tmp_path / "base.npz", choice, {"emb": ws.VocabInfo(NEW, 5, 2, OLD)}, {"emb": "words"}
    ).init(session)
    expected = by_hand(10 * old_values((4, 2)), PLACES, 0)
    assert np.array_equal(session.arrays["emb/m"], expected)
    assert report.renamed == {"emb": "words", "emb/m": "words/m"}


def test_asked_for_slots_go_with_their_variable_under_its_earlier_name(tmp_path):
    arrays = {"a": 1, "b": 2, "a/m": 3, "b/m": 4}
    ws.save_vars(
        {name: np.full(1, n, np.float32) for name, n in arrays.items()}, tmp_path / "b.npz"
    )
    specs = [TensorSpec(name, "float32", (1,), "trainable") for name in "ab"]
    both = [*specs, *(TensorSpec(f"{name}/m", "float32", (1,), "slot") for name in "ab")]
    swap = {"a": "b", "b": "a"}
    session = MemorySession(both)
    ws.WarmStartSettings(tmp_path / "b.npz", ".*", None, swap, slots=True).init(session)
    assert {n: int(a[0]) for n, a in session.arrays.items()} == {"a": 2, "b": 1, "a/m": 4, "b/m": 3}
    session = MemorySession(both)
    ws.WarmStartSettings(tmp_path / "b.npz", [".*"], None, swap).init(session)
    assert {n: int(a[0]) for n, a in session.arrays.items()} == {"a": 2, "b": 1, "a/m": 3, "b/m": 4}


# Files


def write(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize(
    ("new", "old", "places"),
    [
        (b"a\nb\n", b"b\na\n", [1, 0]),
        (b"a\nb", b"b\r\na\r\n", [1, 0]),
        (b"a\nb\r", b"b\na\n", [1, 0]),
        (b"a \nb\n", b"b\na\n", [-1, 0]),
        (b"a\rx\nb\n", b"b\nax\n", [-1, 0]),
        (b"\xff\na\na\n", b"a\n\xff\n", [1, 0, 0]),
    ],
)
def test_files_are_lines_of_bytes(new, old, places, tmp_path):
    found = places_in(write(tmp_path, "n", new), None, write(tmp_path, "o", old))
    assert found.tolist() == places


def test_text_in_a_list_is_utf8(tmp_path):
    assert places_in(["ä", b"b"], None, write(tmp_path, "o", "b\nä\n".encode())).tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [hash, len, lambda word: 1])
def test_words_that_hash_alike_are_told_apart(wrong, monkeypatch):
    monkeypatch.setattr(vocab, "hash", wrong, raising=False)
    assert places_in(["bb", "q", "a", "a", "zz"], None, ["a", "bb"]).tolist() == [1, -1, 0, 0, -1]


def test_an_old_vocabulary_may_be_empty_in_a_list():
    assert places_in(["a"], None, []).tolist() == [-1]


def test_an_empty_word_may_stand_in_a_list():
    assert places_in(["", "a"], None, ["a", ""]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("new", "old", "sizes", "message"),
    [
        (b"a\n", b"a\n", (2, -1), r"vocabulary .*n has 1 word; new_vocab_size is 2"),
        (b"a\n", b"a\n", (1, 3), r"vocabulary .*o has 1 word; old_vocab_size is 3"),
        (b"a\n\nb\n", b"a\n", (1, -1), r"line 2 of the vocabulary .*n is empty; each line is a w"),
        (b"a\n", b"a\n\r\n", (1, -1), r"line 2 of the vocabulary .*o is empty"),
        (b"a\n", b"", (1, 1), r"vocabulary .*o has 0 words; old_vocab_size is 1"),
        (b"a\n", b"b\na\nb\nb\n", (1, -1), r"o has 2 words in two lines: 'b' in 1 and 3, 'b' in "),
    ],
)
def test_faults_of_files(new, old, sizes, message, tmp_path):
    new, old = write(tmp_path, "n", new), write(tmp_path, "o", old)
    with pytest.raises(RuleError, match=message):
        places_in(new, sizes[0], old, sizes[1])


def test_an_empty_line_beyond_the_size_of_an_old_vocabulary_does_not_matter(tmp_path):
    assert places_in(["a"], None, write(tmp_path, "o", b"a\n\na\n"), 1).tolist() == [0]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RuleError, match=r"gone.txt cannot be read: No such file"):
        places_in(tmp_path / "gone.txt", None, ["a"])


# What is refused


@pytest.mark.parametrize(
    ("shape", "info", "message"),
    [
        (
            (6, 2),
            ws.VocabInfo(NEW, 5, 2, OLD),
            r"'emb' is \(6, 2\), so 6 along axis 0; new_vocab_size 5 and num_oov_buckets 2 make 7",
        ),
        ((7, 2), ws.VocabInfo(NEW, 5, 2, OLD, axis=2), r"'emb' is \(7, 2\) and has no axis 2"),
        (
            (7, 2),
            [ws.VocabInfo(NEW, 5, 2, OLD), ws.VocabInfo(NEW, 5, 2, OLD, axis=-2)],
            r"'emb' has two vocabularies for one axis: \[0, -2\]",
        ),
        (
            (7, 2),
            ws.VocabInfo(NEW, 5, 2, ["z", "z", "b", "a", "c"]),
            "has 1 word in two lines: 'z' in 1 and 2",
        ),
        (
            (7, 2),
            ws.VocabInfo(NEW, 5, 2, ["q", "r", "b", "a", "c"]),
            r"'emb' is \(4, 2\), and place 4 along axis 0 is asked for .* old_vocab_size says",
        ),
    ],
)
def test_what_cannot_be_remapped(shape, info, message, tmp_path):
    ws.save_vars({"emb": old_values((4, 2))}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec("emb", "float32", shape, "trainable")])
    with pytest.raises(RuleError, match=message):
        ws.WarmStartSettings(tmp_path / "base.npz", ".*", {"emb": info}).init(session)
    assert session.order == []


def test_all_faults_are_named_at_once(tmp_path):
    ws.save_vars({"a": old_values((4, 2)), "b": old_values((4, 2))}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec(n, "float32", (3, 2), "trainable") for n in "ab"])
    infos = dict.fromkeys("ab", ws.VocabInfo(NEW, 5, 2, OLD))
    with pytest.raises(RuleError) as caught:
        ws.WarmStartSettings(tmp_path / "base.npz", ".*", infos).init(session)
    assert [line.partition(" is ")[0] for line in str(caught.value).splitlines()] == ["'a'", "'b'"]


def test_all_tensors_that_are_too_small_are_named_at_once(tmp_path):
    ws.save_vars({"a": old_values((4, 2)), "b": old_values((4, 2))}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec(n, "float32", (1, 2), "trainable") for n in "ab"])
    infos = dict.fromkeys("ab", ws.VocabInfo(["z"], 1, 0, [*OLD, "z"]))
    with pytest.raises(RuleError) as caught:
        ws.WarmStartSettings(tmp_path / "base.npz", ".*", infos).init(session)
    assert [line.partition(",")[0] for line in str(caught.value).splitlines()] == [
        "'a' is (4",
        "'b' is (4",
    ]


def test_another_axis_that_does_not_fit_is_a_mismatch(tmp_path):
    ws.save_vars({"emb": old_values((4, 3))}, tmp_path / "base.npz")
    session = MemorySession([TensorSpec("emb", "float32", (7, 2), "trainable")])
    settings = ws.WarmStartSettings(
        tmp_path / "base.npz", ".*", {"emb": ws.VocabInfo(NEW, 5, 2, OLD)}
    )
    with pytest.raises(RestoreMismatch, match=r"checkpoint float32 \(7, 3\) after vocabulary"):
        settings.init(session)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((NEW, 5.0, 0, OLD), TypeError, "new_vocab_size is a whole number, not 5.0"),
        ((NEW, -1, 0, OLD), ValueError, "new_vocab_size is at least 0, not -1"),
        ((NEW, 5, -1, OLD), ValueError, "num_oov_buckets is at least 0, not -1"),
        ((NEW, 5, 0, OLD, 0), ValueError, "old_vocab_size is at least 1 or -1 for all of it, not"),
        ((NEW, 5, 0, OLD, -1, 3), TypeError, 'backup_initializer is None, "model", or a function'),
        ((NEW, 5, 0, OLD, -1, None, 0.5), TypeError, "axis is a whole number, not 0.5"),
        (
            (3, 5, 0, OLD),
            TypeError,
            "new_vocab is the path of a file .*, or a list of words, not 3",
        ),
        ((NEW, 5, 0, b"a"), TypeError, "old_vocab is the path of a file .*, not b'a'"),
        (([1], 5, 0, OLD), TypeError, "new_vocab is the path of a file .*, not .1"),
        (({"b": 1, "a": 0}, 2, 0, OLD), TypeError, "new_vocab is a list .* a dict has none"),
        ((NEW, 5, 0, {"a", "b"}), TypeError, "old_vocab is a list .* and a set has none"),
    ],
)
def test_a_vocab_info_is_checked(arguments, kind, message):
    with pytest.raises(kind, match=message):
        ws.VocabInfo(*arguments)


def test_vocab_info_has_tensorflows_fields():
    info = ws.VocabInfo("new.txt", 3, 0, "old.txt")
    assert (info.old_vocab_size, info.backup_initializer, info.axis) == (-1, None, 0)


def test_an_object_with_tensorflows_fields_will_do():
    Info = namedtuple(
        "VocabInfo",
        "new_vocab new_vocab_size num_oov_buckets old_vocab old_vocab_size backup_initializer axis",
    )
    theirs = Info("new.txt", 3, 1, "old.txt", 2, None, 1)
    assert as_vocab_infos(theirs) == (ws.VocabInfo("new.txt", 3, 1, "old.txt", 2, None, 1),)
    assert as_vocab_infos([theirs, theirs]) == as_vocab_infos(theirs) * 2


def test_words_may_be_those_that_python_escapes_and_no_others():
    assert words_of(["caf\udce9", "é"]) == [b"caf\xe9", b"\xc3\xa9"]
    with pytest.raises(
        RuleError, match=r"the word '\\ud800' of a vocabulary is no text: surrogates"
    ):
        words_of(["\ud800"])


@pytest.mark.parametrize("value", [3, [], ["new.txt"], "new.txt", None])
def test_other_vocabularies_are_type_errors(value):
    with pytest.raises(TypeError, match="a vocabulary is a VocabInfo or a list of them, not"):
        ws.WarmStartSettings("base", var_name_to_vocab_info={"emb": value})


# The step


@pytest.mark.parametrize("order", list(product(range(3), repeat=3)))
def test_the_way_back_is_there_when_no_row_is_lost(order):
    old = old_values((3, 2))
    step = Remap((Places(0, np.array([*order, -1]), Zeros(), "a -> b"),))
    back = step.inverse([spec_of("w", old)])
    lossless = len(set(order)) == 3
    assert (back is not None) == lossless
    for recipe in back or ():
        assert spec_from(recipe, {"": step.spec([spec_of("w", old)])}).shape == old.shape
        assert np.array_equal(value_from(recipe, lambda _: step.value([old])), old)


def test_equal_steps_are_equal():
    def step(places):
        return made(Remap((Places(0, np.array(places), Zeros(), "a -> b"),)), "w")

    assert step([0, 1]) == step([0, 1])
    assert len({step([0, 1]), step([0, 1]), step([1, 0])}) == 2
