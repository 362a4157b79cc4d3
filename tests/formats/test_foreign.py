"""Files of other libraries: what is said of them."""

import gzip
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

import warmstart as ws
from warmstart import CheckpointNotFound, CorruptCheckpoint, DictSource, UnknownFormat
from warmstart.formats import locate, open_source, save_source

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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pkl", r"m\.pkl ends in \.pkl, as files do that are not written\. To write it all"),
        ("M.PKL", r"ends in \.pkl, as files do that are not written"),
        ("pytorch_model.bin", r"\.bin, as checkpoints of several kinds do.* or --format: safet"),
        ("m.safetensor", r"ends in \.safetensor, which no format does \(near it: \.safetensors\)"),
        ("m.npx", r"ends in \.npx, which no format does \(near it: \.npz\)"),
        ("m.hdf", r"ends in \.hdf, which no format does \(near it: \.hdf5\)"),
    ],
)
def test_an_end_in_doubt_is_not_taken_for_a_prefix(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UnknownFormat, match=message):
        save_source(SOURCE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    save_source(SOURCE, tmp_path / name, format="tf-bundle")
    assert open_source(tmp_path / name).read("w").tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["model.ckpt", "model.ckpt-100", "net.v2", "run.best", "m.3"])
def test_a_prefix_may_have_dots(tmp_path: Path, name: str) -> None:
    save_source(SOURCE, tmp_path / name)
    assert (tmp_path / f"{name}.index").exists()


def test_what_was_compressed_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "m.pt.gz").write_bytes(gzip.compress(b"anything"))
    with pytest.raises(UnknownFormat, match=r"m\.pt\.gz is compressed by gzip: gunzip unpacks it"):
        open_source(tmp_path / "m.pt.gz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "m.safetensors is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "m.safetensors is the poi"),
        (b"<!DOCTYPE html>\n<title>404</title>", "m.safetensors is a web page and no checkpoint"),
        (b"\n<html><body>", "m.safetensors is a web page and no checkpoint"),
    ],
)
def test_what_stands_in_place_of_a_file_that_was_not_fetched(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=message):
        open_source(tmp_path / "m.safetensors")
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(UnknownFormat, match=message.replace(".safetensors", "")):
        open_source(tmp_path / "m")


def test_a_shard_that_was_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "m-1.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "m-1.safetensors"}}))
    with pytest.raises(CorruptCheckpoint, match=r"m-1\.safetensors is the pointer that Git LFS"):
        open_source(index)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a pipe")
@pytest.mark.parametrize("name", ["pipe", "pipe.pt", "pipe.index"])
def test_a_pipe_is_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UnknownFormat, match="is a pipe or a device: copy what it gives to a file"):
        locate(tmp_path / name)


@pytest.mark.parametrize("target", ["gone.pt", "m.pt"])
def test_a_link_that_leads_nowhere_says_where_to(target: str, tmp_path: Path) -> None:
    (tmp_path / "m.pt").symlink_to(target)
    with pytest.raises(CheckpointNotFound, match=rf"m.pt is a link to {target}: nothing is there"):
        locate(tmp_path / "m.pt")
    with pytest.raises(CheckpointNotFound, match="nothing is there"):
        ws.diagnose(tmp_path / "m.pt")
