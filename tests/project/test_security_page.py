"""Every test that docs/security.md names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()


def named() -> list[tuple[str, str]]:
    """Return the file and the name of each test on the page."""
    found, file = [], ""
    for text in re.findall(r"`([\w/]+\.py|test_\w+)`", PAGE):
        if text.endswith(".py"):
            file = text
        else:
            found.append((file, text))
    return found


def test_the_page_names_tests() -> None:
    assert len(named()) > 30


@pytest.mark.parametrize(("file", "test"), named())
def test_what_the_page_names_is_there(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text()
