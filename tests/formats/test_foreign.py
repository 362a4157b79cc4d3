"""Files of other libraries: what is said of them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from warmstart import DictSource, UnknownFormat
from warmstart.formats import open_source, save_source

SOURCE = DictSource({"w": np.arange(3.0)})


def test_other_zip_archives_are_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(UnknownFormat, match=r"notes\.zip is none of: tf-bundle"):
        open_source(tmp_path / "notes.zip")


def test_a_graph_is_told_from_its_values(tmp_path: Path) -> None:
    (tmp_path / "model-3.meta").write_bytes(b"\x0a\x00")
    with pytest.raises(UnknownFormat, match=r"is the graph of .* at .*/model-3\. .* by ls --graph"):
        open_source(tmp_path / "model-3.meta")


@pytest.mark.parametrize("name", ["m.pkl", "M.PKL"])
def test_an_extension_of_another_library_is_not_taken_for_a_prefix(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UnknownFormat, match="ends as files do that are not written; known: tf-b"):
        save_source(SOURCE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save_source(SOURCE, tmp_path / name, format="tf-bundle")
    assert open_source(tmp_path / name).read("w").tolist() == [0, 1, 2]
