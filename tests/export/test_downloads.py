"""Fetching files from servers that stall, cut off, lie and serve other bytes."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from maskgit_daemon.bundle import load_bundle
from maskgit_daemon.catalogue import CATALOGUE, Published
from maskgit_daemon.commands.models import models, pull_model
from maskgit_daemon.downloads import DownloadError, fetch
from maskgit_daemon.errors import MaskgitError

CONTENT = np.random.default_rng(0).bytes(700_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """A server with a fault; ``asked`` lists the Range header of each request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, fault: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fault, self.asked = fault, []  # type: ignore[var-annotated]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fault, asked = self.server.fault, self.headers.get("range")
        self.server.asked.append(asked)
        turn = len(self.server.asked)
        self.close_connection = True
        if fault == "redirect" and self.path == "/file.bin":
            self.send_response(302)
            self.send_header("location", "/elsewhere")
            self.send_header("x-linked-etag", f'"{DIGEST}"')
            self.send_header("content-length", "0")
            # Said aloud, or the client may send its next request into the closing connection.
            self.send_header("connection", "close")
            self.end_headers()
            return
        if fault == "absent" or (fault == "busy once" and turn == 1):
            self.send_error(404 if fault == "absent" else 503)
            return
        start = int(asked[6:-1]) if asked and fault != "no ranges" else 0
        body = CONTENT[start:]
        announced = len(body)
        self.send_response(206 if start else 200)
        if fault == "wrong part" and start:
            start += 1
        if start:
            self.send_header("content-range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if fault == "other bytes":
            body = bytes(len(body))
            self.send_header("x-linked-etag", DIGEST)
        if fault == "google hash":
            md5 = base64.b64encode(hashlib.md5(CONTENT[::-1]).digest()).decode()
            self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={md5}")
        if fault == "web page":
            self.send_header("content-type", "text/html; charset=utf-8")
        if fault == "huge":
            announced = 1 << 60
        if fault == "lies":
            announced += 1000
        if fault == "changes":
            self.send_header("etag", f'"{turn}"')
        elif fault != "no tag":
            self.send_header("etag", '"one"')
        self.send_header("content-length", str(announced))
        self.end_headers()
        try:
            if fault in ("cuts off", "no ranges", "no tag", "wrong part") and turn <= 2:
                self.wfile.write(body[: 200_000 * turn])
            elif fault == "always cuts":
                self.wfile.write(body[: 1000 if turn == 1 else 0])
            elif fault == "stalls" and turn == 1:
                self.wfile.write(body[:100_000])
                self.wfile.flush()
                time.sleep(2.5)
            else:
                self.wfile.write(body)
        except OSError:
            pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def get(server: Server, target: Path, attempts: int = 3) -> str:
    found = fetch(server.url, target, timeout=1.5, attempts=attempts, pause=0.01)
    assert target.read_bytes() == CONTENT
    assert found.size == len(CONTENT)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return found.sha256


@pytest.mark.parametrize("server", ["none", "busy once", "redirect"], indirect=True)
def test_plain(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file") == DIGEST


@pytest.mark.parametrize("server", ["cuts off", "stalls"], indirect=True)
def test_taken_up_where_it_stopped(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file") == DIGEST
    assert server.asked[0] is None
    assert all(asked != "bytes=0-" for asked in server.asked[1:])
    assert server.asked[1] is not None


@pytest.mark.parametrize("server", ["no ranges", "no tag", "wrong part"], indirect=True)
def test_begun_again_where_it_must(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "file", attempts=6) == DIGEST


@pytest.mark.parametrize("server", ["always cuts", "lies"], indirect=True)
def test_given_up_in_a_sentence(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="try again"):
        get(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert len(server.asked) < 10


@pytest.mark.parametrize("server", ["always cuts"], indirect=True)
def test_taken_up_by_the_next_call(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        get(server, tmp_path / "file")
    assert (tmp_path / "file.part").stat().st_size == 1000
    server.fault = "none"
    assert get(server, tmp_path / "file") == DIGEST
    assert server.asked[-1] == "bytes=1000-"


@pytest.mark.parametrize("server", ["other bytes", "google hash"], indirect=True)
def test_other_bytes_than_stated_are_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="other bytes"):
        get(server, tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("server", ["none"], indirect=True)
def test_other_bytes_than_expected_are_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="other bytes"):
        fetch(server.url, tmp_path / "file", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("server", "words"),
    [("absent", "--from"), ("web page", "web page"), ("huge", "free")],
    indirect=["server"],
)
def test_refused_at_once(server: Server, words: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=words):
        get(server, tmp_path / "file")
    assert len(server.asked) == 1
    assert not (tmp_path / "file").exists()


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="check the connection"):
        fetch("http://127.0.0.1:9/x", tmp_path / "x", attempts=2, pause=0.01)


@pytest.mark.parametrize("server", ["none"], indirect=True)
def test_proxy_is_used(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.rsplit("/", 1)[0])
    monkeypatch.delenv("NO_PROXY", raising=False)
    fetch("http://publisher.invalid/file.bin", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("server", ["none"], indirect=True)
def test_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch(server.url, tmp_path / "plain" / "file")


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(halton_files: tuple[Path, Path], tmp_path: Path) -> Iterator[Published]:
    """The small Halton-MaskGIT as its authors might publish it."""
    site = tmp_path / "site"
    site.mkdir()
    for path in halton_files:
        (site / path.name).write_bytes(path.read_bytes())
    made = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Files(*args, directory=str(site))
    )
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    base = f"http://127.0.0.1:{made.server_address[1]}"
    tokenizer, transformer = (f"{base}/{path.name}" for path in halton_files)
    yield Published(
        "halton-tiny",
        "halton",
        "A small one",
        "MIT",
        "nowhere",
        1,
        {"tokenizer": tokenizer, "transformer": transformer},
        numbers={"heads": 4},
    )
    made.shutdown()
    thread.join()
    made.server_close()


def test_pull_downloads_converts_and_records(
    published: Published,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MASKGIT_HOME", str(tmp_path / "home"))
    folder = pull_model(published, tmp_path / "home" / "models", precisions=("fp32",))
    told = capsys.readouterr().err
    assert told.index("MIT") < told.index("ImageNet_tiny.pth")
    assert load_bundle(folder).licence == "MIT"
    manifest = json.loads((folder / "manifest.json").read_text())
    for key, url in published.files.items():
        assert manifest["downloads"][key]["url"] == url
        assert len(manifest["downloads"][key]["sha256"]) == 64
    assert not (tmp_path / "home" / "cache" / "downloads" / "halton-tiny").exists()
    listed = json.loads(CliRunner().invoke(models, ["list", "--json"]).output)
    assert "halton-tiny" in {entry["name"] for entry in listed["installed"]}
    result = CliRunner().invoke(models, ["check", "halton-tiny"])
    assert "is whole and works" in result.output
    with pytest.raises(MaskgitError, match="--overwrite"):
        pull_model(published, tmp_path / "home" / "models")


def test_pull_from_files_downloads_nothing(
    published: Published,
    halton_files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MASKGIT_HOME", str(tmp_path / "home"))
    folder = pull_model(published, tmp_path, [*reversed(halton_files)], precisions=("fp32",))
    assert "downloads" not in json.loads((folder / "manifest.json").read_text())
    with pytest.raises(MaskgitError, match="is made from"):
        pull_model(published, tmp_path / "other", [tmp_path / "one.pth"])


def test_catalogue_has_a_licence_and_an_origin_for_all() -> None:
    assert {"google-256", "google-512", "halton-b-256", "amused-512"} <= CATALOGUE.keys()
    for name, model in CATALOGUE.items():
        assert model.name == name
        assert model.licence
        assert all(url.startswith("https://") for url in (model.origin, *model.files.values()))


def test_a_bundle_that_is_not_there() -> None:
    result = CliRunner().invoke(models, ["check", "nowhere"])
    assert isinstance(result.exception, MaskgitError)
