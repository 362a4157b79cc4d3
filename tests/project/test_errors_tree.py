"""The tree drawn in the docstring of errors.py is the tree of its classes."""

import inspect
import re

from warmstart import errors

LINE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(  .*)?$")


def drawn(text: str) -> dict[str, str | None]:
    """Return child -> parent, as *text* draws them, four columns a level."""
    tree: dict[str, str | None] = {}
    path: list[str] = []
    for match in filter(None, map(LINE.match, text.splitlines())):
        depth = len(match["indent"]) // 4
        path[depth:] = [match["name"]]
        tree[match["name"]] = path[depth - 1] if depth else None
    return tree


def classes() -> dict[str, str | None]:
    """Return child -> parent of every error there is; the root has none."""
    own = [c for _, c in inspect.getmembers(errors, inspect.isclass)
           if c.__module__ == errors.__name__ and issubclass(c, Exception)]  # fmt: skip
    return {c.__name__: (None if c is errors.CheckpointError else c.__base__.__name__) for c in own}


def test_the_drawing_is_the_tree() -> None:
    tree = errors.__doc__.split("\n\n")[1]
    assert drawn(tree) == classes()


def test_every_class_says_what_it_is_for() -> None:
    assert [name for name in classes() if not getattr(errors, name).__doc__] == []
