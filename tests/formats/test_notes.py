"""Notes: one text for the same notes, and nothing else is taken for one."""

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstart.errors import CheckpointError, CorruptCheckpoint
from warmstart.formats import notes as notes_
from warmstart.formats.notes import ByLists, Notes, checked, decode, encode, notes_of
from warmstart.source import DictSource
from warmstart.spec import ROLES

TEXTS = st.dictionaries(st.text(), st.text(), max_size=4)
NOTES = st.builds(
    Notes,
    roles=st.dictionaries(st.text(), st.sampled_from(ROLES)),
    aliases=TEXTS,
    metadata=TEXTS,
    dtypes=st.dictionaries(st.text(), st.sampled_from(["bfloat16", "int4"])),
)


@given(NOTES)
def test_notes_come_back(notes: Notes) -> None:
    assert decode(encode(notes, always=True) or "") == notes


@given(NOTES)
def test_the_order_in_which_they_were_said_does_not_matter(notes: Notes) -> None:
    parts = (notes.roles, notes.aliases, notes.metadata, notes.dtypes)
    assert encode(Notes(*(dict(reversed(part.items())) for part in parts))) == encode(notes)


def test_very_many_names_stay_in_lists_until_several_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notes_, "VERY_MANY", 2)
    notes = Notes({"w": "trainable", "m": "slot", "b": "trainable"})
    roles = decode(encode(notes) or "").roles
    assert isinstance(roles, ByLists)
    assert [roles.get(name) for name in ("w", "m", "x", "b")] == [
        "trainable",
        "slot",
        None,
        "trainable",
    ]
    assert "whole" not in vars(roles)
    assert [roles.get(name) for name in ("w", "x")] == ["trainable", None]
    assert "whole" in vars(roles)
    assert (len(roles), list(roles)) == (3, ["m", "b", "w"])
    assert decode(encode(notes) or "") == notes


def test_a_name_in_several_lists_has_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"warmstart": 1, "roles": {"slot": ["w"], "model": ["w"]}}'
    assert decode(text).roles == {"w": "model"}
    monkeypatch.setattr(notes_, "VERY_MANY", 1)
    assert decode(text).roles["w"] == "model"


def test_the_text_of_a_note() -> None:
    notes = Notes({"w": "trainable", "m": "slot", "b": "trainable"}, {"t": "w"}, {"run": "{}"})
    assert json.loads(encode(notes) or "") == {
        "warmstart": 1,
        "roles": {"trainable": ["b", "w"], "slot": ["m"]},
        "aliases": {"t": "w"},
        "metadata": {"run": "{}"},
    }


def test_nothing_to_say() -> None:
    assert encode(Notes()) is None
    assert encode(Notes(), always=True) == '{"warmstart": 1}'


def test_what_a_source_says() -> None:
    arrays = {"w": np.ones(1), "x": np.ones(1)}
    source = DictSource(arrays, roles={"w": "slot"}, metadata={"a": "b"}, aliases={"t": "w"})
    assert notes_of(source) == Notes({"w": "slot"}, {"t": "w"}, {"a": "b"})


BROKEN: dict[str, Any] = {
    "the note on roles and run state is not JSON": "{",
    "the note on roles and run state is not of version 1: '[]'": "[]",
    "not of version 1: '{\"warmstart\": 2}'": '{"warmstart": 2}',
    "not of version 1: '{}'": "{}",
    "the roles in the note are not lists of names": '{"warmstart": 1, "roles": {"slot": "w"}}',
    "the derived names in the note are no list": '{"warmstart": 1, "derived": {"a": 1}}',
    "the dtypes in the note are not lists of names": '{"warmstart": 1, "dtypes": []}',
    "the aliases in the note do not map text to text": '{"warmstart": 1, "aliases": {"a": 1}}',
    "the metadata in the note do not map text to text": '{"warmstart": 1, "metadata": [""]}',
    "roles and run state is not JSON": b"\xff",
    "run state is not JSON": "[" * 100_000,
    "the note on roles and run state is not JS": r'{"warmstart": 1, "roles": {"\ud800": ["w"]}}',
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_note(message: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=re.escape(message)):
        decode(BROKEN[message])


JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some, max_size=3)
    ),
    max_leaves=6,
)
PARTS = st.sampled_from(["roles", "aliases", "metadata", "dtypes"])


@given(st.dictionaries(PARTS, JSON))
def test_any_note_is_read_or_refused(parts: dict[str, Any]) -> None:
    assert decoded_or_refused(json.dumps({"warmstart": 1, **parts}))


@given(st.binary() | st.text())
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    assert decoded_or_refused(text)


def decoded_or_refused(text: str | bytes) -> bool:
    """Return True; anything but CheckpointError that comes of *text* fails the test."""
    try:
        notes = decode(text)
    except CheckpointError:
        return True
    return decode(encode(notes, always=True) or "") == notes


def test_aliases_are_checked_against_the_names() -> None:
    notes = Notes(roles={"gone": "slot"}, aliases={"t": "w"})
    assert checked(notes, {"w"}) is notes
    with pytest.raises(CorruptCheckpoint, match="that the tensors contradict: 't' for 'w'"):
        checked(notes, {"w", "t"})
    with pytest.raises(CorruptCheckpoint, match="that the tensors contradict: 't' for 'w'"):
        checked(notes, {"x"})
