"""The rule `vocab`: rows carried over by their words, in a restore and from file to file."""

import numpy as np
import pytest

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.restore.grammar import parse
from warmstart.source import DictSource
from warmstart.spec import TensorSpec
from warmstart.testing.memory import MemorySession

EMB = np.arange(6, dtype=np.float32).reshape(3, 2) + 1


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    """Work beside two vocabularies and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.txt").write_text("b\na\nc\n")
    (tmp_path / "new.txt").write_text("a\nx\nb\n")
    (tmp_path / "turned.txt").write_text("c\nb\na\n")
    arrays = {"emb": EMB, "emb/Adam": EMB * 10, "emb/step": np.float32(3)}
    roles = {"emb": "trainable", "emb/Adam": "slot", "emb/step": "slot"}
    ws.save_vars(DictSource(arrays, roles=roles), "old")


def converted(*rules):
    ws.convert("old", "new.npz", rules=rules)
    return ws.load_vars("new.npz")


def test_from_file_to_file():
    found = converted("vocab emb: old.txt -> new.txt")
    assert found["emb"].tolist() == [[3, 4], [0, 0], [1, 2]]


def test_slots_follow_and_numbers_stay():
    found = converted("vocab emb: old.txt -> new.txt axis 0 buckets 1")
    assert found["emb/Adam"].tolist() == [[30, 40], [0, 0], [10, 20], [0, 0]]
    assert found["emb/step"] == 3


def test_other_axes_and_words_from_a_list():
    found = converted("transpose emb", ws.vocab("emb", ["b", "a", "c"], "new.txt", axis=-1))
    assert found["emb"].tolist() == [[3, 0, 1], [4, 0, 2]]


def test_in_a_restore():
    session = MemorySession([TensorSpec("emb", "float32", (4, 2), "trainable")])
    rule = "vocab re:em.: old.txt -> new.txt buckets 1"
    report = ws.SmartInit("old", rules=rule).init(session)
    assert session.arrays["emb"].tolist() == [[3, 4], [0, 0], [1, 2], [0, 0]]
    assert report.transformed == {
        "emb": "vocabulary old.txt -> new.txt along axis 0: 2 kept, 2 new (zeros)"
    }


def test_paths_in_a_rule_file_are_relative_to_it(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mine.toml").write_text('rules = ["vocab emb: old.txt -> new.txt"]')
    monkeypatch.chdir(tmp_path / "elsewhere")
    ws.convert("../old", "new.npz", rules="../mine.toml")
    assert ws.load_vars("new.npz")["emb"].tolist() == [[3, 4], [0, 0], [1, 2]]
    (tmp_path / "mine.toml").write_text('rules = ["vocab emb: gone.txt -> new.txt"]')
    message = rf"mine.toml, rule 1: the vocabulary {tmp_path}/gone.txt cannot be read: No such file"
    with pytest.raises(RuleError, match=message):
        parse("../mine.toml")


def test_the_mark_of_utf_8_is_no_part_of_a_word(tmp_path):
    (tmp_path / "new.txt").write_bytes(b"\xef\xbb\xbfa\nx\nb\n")
    assert converted("vocab emb: old.txt -> new.txt")["emb"].tolist() == [[3, 4], [0, 0], [1, 2]]


def test_other_encodings_are_refused(tmp_path):
    (tmp_path / "new.txt").write_text("a\nx\nb\n", encoding="utf-16")
    with pytest.raises(RuleError, match=r"vocabulary new\.txt is UTF-16 and must be UTF-8: save"):
        converted("vocab emb: old.txt -> new.txt")


def test_another_order_has_a_way_back():
    (rule,) = parse("vocab emb: old.txt -> turned.txt")
    assert rule.back() == ["vocab emb: turned.txt -> old.txt axis 0"]
    found = converted(rule, *rule.back())
    assert found["emb"].tolist() == EMB.tolist()


@pytest.mark.parametrize("new", ["new.txt", "turned.txt buckets 1"])
def test_what_is_lost_has_none(new):
    (rule,) = parse(f"vocab emb: old.txt -> {new}")
    with pytest.raises(RuleError, match="not known, or lost"):
        rule.back()


def test_fewer_words_have_no_way_back(tmp_path):
    (tmp_path / "fewer.txt").write_text("a\nb\n")
    (rule,) = parse("vocab emb: old.txt -> fewer.txt")
    with pytest.raises(RuleError, match="not known, or lost"):
        rule.back()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("vocab emb: old.txt", "expected 'vocab PATTERN: OLD_FILE -> NEW_FILE"),
        ("vocab emb: old.txt -> gone.txt", "gone.txt cannot be read"),
        ("vocab emb: old.txt -> new.txt axis 2", r"'emb' is \(3, 2\) and has no such axis"),
        ("vocab nope: old.txt -> new.txt", "match nothing"),
    ],
)
def test_faults(rule, message):
    with pytest.raises(RuleError, match=message):
        converted(rule)


def test_faults_of_arguments():
    with pytest.raises(ValueError, match="buckets is at least 0, not -1"):
        ws.vocab("emb", "old.txt", "new.txt", buckets=-1)
    with pytest.raises(TypeError, match="old is the path of a file with a word a line, or a list"):
        ws.vocab("emb", 3, "new.txt")
