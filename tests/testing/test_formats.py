"""The contract of formats fails for those that break it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import warmstart.testing
from warmstart.formats import npz, safetensors
from warmstart.source import DictSource, Source
from warmstart.testing import FormatContract


def like_npz(**changed: Callable[..., Any]) -> SimpleNamespace:
    """Return the format npz with some of its functions replaced."""
    names = ("EXTENSIONS", "locate", "open_source", "save_source")
    return SimpleNamespace(**{name: getattr(npz, name) for name in names} | changed)


def in_place(source: Source, path: Path) -> None:
    path.write_bytes(b"")
    npz.save_source(source, path)


def without_notes(source: Source, path: Path) -> None:
    npz.save_source(DictSource(source.read_all()), path)


def in_any_order(source: Source, path: Path) -> None:
    npz.save_source(source, path)
    path.write_bytes(path.read_bytes() + next(iter(source.specs), "").encode())


def leaking(path: Path, *, verify: bool) -> Source:
    path.read_bytes()[-22]
    return npz.open_source(path, verify=verify)


def unverified(path: Path, *, verify: bool) -> Source:
    return npz.open_source(path, verify=False)


def claiming(path: Path) -> Path | None:
    return path if path.exists() else None


BROKEN = [
    ({"save_source": in_place}, "test_a_failed_write_leaves_the_old_checkpoint", {}),
    ({"save_source": without_notes}, "test_roles_survive", {}),
    ({"save_source": without_notes}, "test_aliases_survive", {}),
    ({"save_source": without_notes}, "test_metadata_survive", {"metadata": {"a": "b"}}),
    ({"save_source": in_any_order}, "test_order_of_writing_does_not_change_the_files", {}),
    ({"open_source": leaking}, "test_every_truncation_is_refused", {}),
    ({"open_source": unverified}, "test_every_flipped_byte_is_read_or_refused", {"flip": 1}),
    ({"locate": claiming}, "test_other_files_are_not_claimed", {"content": b"PK"}),
]


@pytest.mark.parametrize(("changed", "test", "arguments"), BROKEN)
def test_the_contract_can_fail(
    changed: dict[str, Any], test: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    class Contract(FormatContract):
        format = like_npz(**changed)
        checksummed = True

    with pytest.raises((AssertionError, LookupError, OSError)):
        getattr(Contract(), test)(tmp_path=tmp_path, **arguments)


def test_a_dtype_that_is_held_although_it_was_not_said(tmp_path: Path) -> None:
    class Contract(FormatContract):
        format = npz
        dtypes = frozenset({"float32"})

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        Contract().test_a_dtype_it_cannot_hold("int64", tmp_path)


def test_a_contract_without_its_petabyte(tmp_path: Path) -> None:
    class Contract(FormatContract):
        format = safetensors

    with pytest.raises(NotImplementedError, match=r"Contract says no petabyte\(path\)"):
        Contract().test_a_petabyte_is_refused_in_little_memory(tmp_path)


def test_contracts_are_imported_when_they_are_asked_for() -> None:
    assert dir(warmstart.testing) == [
        "CallbackContract", "DataContract", "FormatContract", "GradientContract",
        "ReadingContract", "SessionContract",
    ]  # fmt: skip
    for name in dir(warmstart.testing):
        assert getattr(warmstart.testing, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Contract'"):
        _ = warmstart.testing.Contract
