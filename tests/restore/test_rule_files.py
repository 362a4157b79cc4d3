"""Rule files: what they say, how they are found, and what is refused with its place."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmstart as ws
from warmstart.errors import RuleError
from warmstart.files.views import ruled
from warmstart.restore import rule_files
from warmstart.restore.grammar import parse
from warmstart.source import DictSource

SOURCE = DictSource({"a/w": np.ones((2, 3)), "a/b": np.ones(3), "c": np.ones(1), "d": np.ones(1)})
RULES = """
description = "as it was in 2021"
rules = [
  "drop d",
  { "c" = "z", "a/b" = ["x", "y"] },
  "transpose a/w: 1 0",
]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RULES)
    return path


def test_a_file_stands_wherever_rules_do(file):
    for rules in (file, str(file), [file], [str(file)]):
        view = ruled(SOURCE, rules)
        assert {name: spec.shape for name, spec in view.specs.items()} == {
            "a/w": (3, 2), "x": (3,), "y": (3,), "z": (1,)
        }  # fmt: skip
    assert ruled(SOURCE, [file, "rename z -> q"]).specs.keys() == {"a/w", "x", "y", "q"}


def test_a_file_may_lie_beside_one_that_includes_it(file, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "all.toml").write_text('include = ["../mine.toml"]\nrules = ["drop z"]')
    assert ruled(SOURCE, tmp_path / "sub" / "all.toml").specs.keys() == {"a/w", "x", "y"}


def test_one_that_includes_itself_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('include = ["b.toml"]')
    (tmp_path / "b.toml").write_text('include = ["a.toml"]')
    with pytest.raises(RuleError, match=r"a.toml includes itself, by way of 2 files"):
        parse(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules = [1 2]", "mine.toml is not TOML: .*line 1, column 12"),
        (
            "rule = []\nname = 3",
            "mine.toml:\n  'rule' means nothing here; known: description, .*\n  'name'",
        ),
        ('rules = "drop a"', "  rules is a list of rules"),
        ("rules = [3]", "  rule 1 is a string or a table of names, not 3"),
        ("include = [3]", "  include 1 is a string, not 3"),
        ('rules = ["drop d", "remove c"]', "mine.toml, rule 2: the rule 'remove c' cannot be read"),
        ('rules = [{ a = "" }]', "mine.toml, rule 1: a rule gives 'a' the name ''"),
        ('rules = ["drop e"]', "these rules match nothing:\n  drop e"),
        (
            'include = ["x.toml"]',
            "there is no rule file .*x.toml; those that come with the library",
        ),
    ],
)
def test_faults_have_their_place(file, text, message):
    file.write_text(text)
    with pytest.raises(RuleError, match=message):
        ruled(SOURCE, file)


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfd")
    with pytest.raises(RuleError, match=r"the rule file .*mine.toml cannot be read: 'utf-8' codec"):
        parse(file)


def test_the_mark_of_utf_8_is_no_part_of_a_file(file):
    file.write_bytes(b"\xef\xbb\xbf" + RULES.encode())
    assert len(parse(file)) == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_refused(file, encoding):
    file.write_bytes(RULES.encode(encoding))
    message = f"the rule file .*mine.toml is {encoding.upper()} and must be UTF-8: save it as such"
    with pytest.raises(RuleError, match=message):
        parse(file)


@pytest.fixture
def ready(monkeypatch, tmp_path):
    (tmp_path / "bert.toml").write_text(RULES)
    monkeypatch.setattr(rule_files, "READY", tmp_path)


def test_those_that_come_with_the_library_go_by_their_name(ready):
    assert ruled(SOURCE, "bert").specs.keys() == {"a/w", "x", "y", "z"}


def test_a_name_near_one_of_them_is_told(ready):
    with pytest.raises(RuleError, match=r"no rule file bertt \(near it: bert\); .*: bert"):
        parse(Path("bertt"))


def test_all_that_come_with_the_library_can_be_read():
    for name in rule_files.ready_names():
        assert parse(name)


LINES = st.lists(
    st.one_of(
        st.text("a/*.\"\\é'{}", min_size=1, max_size=5).map("drop {}".format),
        st.dictionaries(
            st.text("ab\"\\.\n\x7f", min_size=1, max_size=4),
            st.one_of(st.text("ab'\t", min_size=1), st.lists(st.text("ab", min_size=1))),
            min_size=1, max_size=3,
        ),
    ),
    max_size=4,
)  # fmt: skip


@given(lines=LINES, description=st.text('ab"\\\né'))
def test_what_is_written_is_read_again(lines, description):
    contents = tomllib.loads(rule_files.written(lines, description))
    assert contents.get("description", "") == description
    assert contents["rules"] == lines


def test_rules_write_down_what_they_are():
    rules = [
        "rename a/* -> b/*", {"c": None, "d": "e"}, ws.drop("x", "re:y.*"), ws.keep("b/*", "e"),
        ws.rename("(?i)A(.*)", r"\1"), "scope enc.* -> dec/*", "transpose w: 1 0",
        "concatenate a*, b* -> c*: axis 1", "split a -> b, c: axis 0 sizes 1 2",
        "stack a# -> b: axis 0", "unstack a -> b#: axis 0", "fit a: interpolate cubic grid 1",
    ]  # fmt: skip
    lines = [line for rule in parse(rules) for line in rule.written()]
    again = [line for rule in parse(lines) for line in rule.written()]
    assert again == lines
    assert lines[:4] == ["rename a/* -> b/*", {"c": [], "d": "e"}, "drop x", "drop re:y.*"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [(str.lower, "the function str.lower"), (ws.inverted("keep *", SOURCE), "the inverse of keep")],
)
def test_what_has_no_text_cannot_be_written(rule, said):
    with pytest.raises(RuleError, match=rf"{said}.* cannot be written in a rule file"):
        parse(rule)[0].written()
