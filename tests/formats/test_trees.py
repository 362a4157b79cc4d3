"""Nested containers to names and back."""

import pytest

from warmstart import CorruptCheckpoint, UnsupportedCheckpoint
from warmstart.formats.trees import as_metadata, flat, nested


def test_levels_are_cut_by_slashes_and_lists_by_number():
    tree = {"model": {"fc.weight": "A"}, "epoch": 3, "groups": [{"lr": 0.1}, ("x", "y")]}
    assert flat(tree, limit=10) == {
        "model/fc.weight": "A", "epoch": 3, "groups/0/lr": 0.1, "groups/1/0": "x",
        "groups/1/1": "y",
    }  # fmt: skip


def test_an_empty_container_and_a_lone_leaf_are_leaves():
    assert flat({"state": {}, "groups": []}, limit=5) == {"state": {}, "groups": []}
    assert flat(7, limit=5) == {"": 7}


def test_keys_that_are_no_text():
    assert flat({0: {"exp_avg": "A"}, None: 1}, limit=5) == {"0/exp_avg": "A", "None": 1}


def test_two_values_of_one_name_are_refused():
    with pytest.raises(UnsupportedCheckpoint, match="two values are called 'a/b': one under a key"):
        flat({"a/b": 1, "a": {"b": 2}}, limit=5)


def test_shared_containers_do_not_unfold_without_end():
    """Thirty lists of ten of the one before would be 10**30 values out of a kilobyte."""
    tree: list = ["leaf"]
    for _ in range(30):
        tree = [tree] * 10
    with pytest.raises(CorruptCheckpoint, match="the containers unfold to more than 1000 values"):
        flat(tree, limit=1000)


def test_a_container_inside_itself_is_refused():
    """Following it would never end."""
    tree: dict = {}
    tree["self"] = tree
    with pytest.raises(CorruptCheckpoint, match="containers lie more than 100 deep"):
        flat(tree, limit=1000)


@pytest.mark.parametrize("names", [["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"]])
def test_a_name_below_another_has_no_place_in_a_tree(names):
    with pytest.raises(UnsupportedCheckpoint, match="lies below or above another tensor"):
        nested(dict.fromkeys(names))


def test_a_tree_of_dicts_comes_back():
    tree = {"params": {"Dense_0": {"kernel": 1, "bias": 2}}, "step": 3}
    assert nested(flat(tree, limit=9)) == tree


def test_metadata_is_json_where_it_can_be():
    assert [as_metadata(x) for x in (1.5, "a", None, [1], b"x")] == [
        "1.5", '"a"', "null", "[1]", "b'x'",
    ]  # fmt: skip
