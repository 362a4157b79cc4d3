import logging
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from warmstart.binary import mirror, remote, urls

STORES = ("memory", "s3")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Return the URL of a server of S3's protocol, on this machine, for this session."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def s3(server: str) -> Iterator[str]:
    """Let `s3://` mean that server, with an empty bucket; return the URL of a folder in it."""
    keys = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with mock.patch.dict(os.environ, keys | {"AWS_ENDPOINT_URL": server}):
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        if files.exists("bucket"):
            files.rm("bucket", recursive=True)
        files.mkdir("bucket")
        yield "s3://bucket/run"


@pytest.fixture
def memory() -> Iterator[str]:
    """Return the URL of a folder in fsspec's file system in memory."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield "memory://run"
    files.store.clear()


@pytest.fixture(params=STORES)
def base(request: pytest.FixtureRequest) -> str:
    """Return the URL of a folder, in each kind of store."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def fetched_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many bytes each request took, as they are made."""
    sizes: list[int] = []
    blocks = remote.Hole._fetch_blocks

    def counted(self: remote.Hole, content: Any, first: int, stop: int) -> None:
        sizes.append(min(stop * remote.BLOCK, self.size) - first * remote.BLOCK)
        blocks(self, content, first, stop)

    monkeypatch.setattr(remote.Hole, "_fetch_blocks", counted)
    return sizes


@pytest.fixture
def forgotten() -> Any:
    """Return a function that makes this process look at every URL as a new one would."""

    def forget() -> None:
        for file in list(mirror.KNOWN):
            file.unlink(missing_ok=True)
            mirror.forget(file)
        urls.URLS.clear()

    return forget


def names(url: str) -> list[str]:
    """Return the files at *url* as the store itself has them, relative to it."""
    files, path = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    files.invalidate_cache()
    return sorted(found.removeprefix(path).lstrip("/") for found in files.find(path))
