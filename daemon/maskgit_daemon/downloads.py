"""Fetch a large file: resumed where it was cut off, its hash recorded, and nothing half done left.

The unfinished file lies beside the target as ``NAME.part`` with ``NAME.part.json``, which says what
it is a part of.  Proxies are taken from the usual environment variables.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.version import VERSION

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are and the bytes in all (None if the server does not say)."""


class DownloadError(MaskgitError):
    """A file that could not be fetched; the message says whether trying again may help."""


class _InterruptedError(Exception):
    """The connection ended early; what came so far is kept and the rest is asked for again."""


@dataclass(frozen=True)
class Fetched:
    """A whole file and what is known about it; ``sha256`` of its bytes."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True)
class _Part:
    """What a ``.part`` file is a part of; ``tag`` is the server's ETag, or its date."""

    url: str
    tag: str
    total: int | None


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: Progress = lambda done, total: None,
    timeout: float = 30.0,
    attempts: int = 5,
    pause: float = 1.0,
) -> Fetched:
    """Download ``url`` to ``target`` and return its size and SHA-256.

    A connection that stalls for ``timeout`` seconds or breaks is taken up again where it stopped;
    after ``attempts`` of them in a row that brought nothing, :class:`DownloadError`, and what is
    there is kept for the next call.  The hash is compared with ``sha256`` and with what the server
    states (``x-linked-etag``, ``x-goog-hash``); a wrong file is deleted.
    """
    part, note = (
        target.with_name(f"{target.name}.part"),
        target.with_name(f"{target.name}.part.json"),
    )
    failures, most = 0, 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with httpx.Client(follow_redirects=True, timeout=timeout, headers=_HEADERS) as client:
            while True:
                try:
                    stated = _receive(client, url, part, note, progress)
                    break
                except _InterruptedError as error:
                    now = part.stat().st_size if part.exists() else 0
                    # Only more than there ever was counts, else a lying server is asked for ever.
                    failures, most = (0, now) if now > most else (failures + 1, most)
                    if failures >= attempts:
                        raise DownloadError(
                            f"{url} stopped after {now} bytes ({error}); check the connection and "
                            "try again, it goes on from there."
                        ) from error
                    time.sleep(pause * failures)
        found = _verify(url, part, note, sha256, stated)
        os.replace(part, target)
        note.unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(
            f"{target} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder and try again."
        ) from error
    return found


_HEADERS = {"user-agent": f"maskgit-refine/{VERSION}", "accept-encoding": "identity"}


def _receive(
    client: httpx.Client, url: str, part: Path, note: Path, progress: Progress
) -> Mapping[str, str]:
    """One connection: append what comes to ``part``; return the hashes the server states."""
    known = _read_note(note, url)
    start = part.stat().st_size if known and part.exists() else 0
    headers = {"range": f"bytes={start}-", "if-range": known.tag} if known and start else {}
    try:
        with client.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:
                part.unlink(missing_ok=True)
                raise _InterruptedError("the server has no such part")
            _refuse(url, answer)
            resumed = answer.status_code == 206
            if resumed and not _begins_at(answer, start):
                part.unlink()
                raise _InterruptedError("the server sent another part than it was asked for")
            start = start if resumed else 0
            total = _total(answer, start)
            _room(part, total, start)
            tag = answer.headers.get("etag") or answer.headers.get("last-modified") or ""
            # A weak tag does not promise equal bytes, so it must not be used to resume.
            tag = "" if tag.startswith("W/") else tag
            note.write_text(json.dumps(asdict(_Part(url, tag, total))), encoding="utf-8")
            with part.open("r+b" if resumed else "wb") as out:
                out.seek(start)
                out.truncate()
                done = start
                progress(done, total)
                for block in answer.iter_raw():
                    done += len(block)
                    if total is not None and done > total:
                        raise _InterruptedError("more bytes came than were announced")
                    out.write(block)
                    progress(done, total)
            if total is not None and done < total:
                raise _InterruptedError(f"{total - done} of {total} bytes are missing")
            return _stated(answer)
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _InterruptedError(str(error) or type(error).__name__) from error
    except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
        raise DownloadError(f"{url} is not an address that leads to a file ({error}).") from error


def _read_note(note: Path, url: str) -> _Part | None:
    try:
        known = _Part(**json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return known if known.url == url and known.tag else None


def _refuse(url: str, answer: httpx.Response) -> None:
    """Raise for an answer that is not the file."""
    status = answer.status_code
    if status >= 500 or status == 429:
        raise _InterruptedError(f"the server answered {status}")
    if status not in (200, 206):
        raise DownloadError(
            f"{urlsplit(url).hostname} answered {status} to {url}; the file may have moved: fetch "
            "it by hand and give it with --from."
        )
    if answer.headers.get("content-type", "").startswith("text/html"):
        raise DownloadError(
            f"{url} gave a web page instead of the file (a login or a portal?); fetch it by hand "
            "and give it with --from."
        )


def _begins_at(answer: httpx.Response, start: int) -> bool:
    """Whether a 206 answer begins where it was asked to."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    return match is not None and int(match[1]) == start


def _total(answer: httpx.Response, start: int) -> int | None:
    """Size of the whole file in bytes, if the server says it."""
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("content-range", ""))
    if match:
        return int(match[1])
    length: str = answer.headers.get("content-length", "")
    return start + int(length) if length.isdigit() else None


def _room(part: Path, total: int | None, start: int) -> None:
    """Refuse before the first byte what the disk cannot hold."""
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - start > free:
        raise DownloadError(
            f"The file has {total / 1e6:.0f} MB but only {free / 1e6:.0f} MB are free at "
            f"{part.parent}; free some space and try again."
        )


def _stated(answer: httpx.Response) -> dict[str, str]:
    """Hashes that the publisher states, as hexadecimal digits by algorithm."""
    found: dict[str, str] = {}
    for step in (*answer.history, answer):
        linked = step.headers.get("x-linked-etag", "").strip('"')
        if re.fullmatch(r"[0-9a-f]{64}", linked):
            found["sha256"] = linked
        match = re.search(r"md5=([A-Za-z0-9+/=]+)", step.headers.get("x-goog-hash", ""))
        if match:
            found["md5"] = base64.b64decode(match[1]).hex()
    return found


def _verify(
    url: str, part: Path, note: Path, sha256: str | None, stated: Mapping[str, str]
) -> Fetched:
    """Compare the whole file with every hash there is; delete it where one differs."""
    sums = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with part.open("rb") as stream:
        while block := stream.read(1 << 20):
            for digest in sums.values():
                digest.update(block)
    found = {name: digest.hexdigest() for name, digest in sums.items()}
    wanted = [*stated.items(), *([("sha256", sha256.lower())] if sha256 else [])]
    for name, value in wanted:
        if found[name] != value:
            part.unlink()
            note.unlink(missing_ok=True)
            raise DownloadError(
                f"{url} gave other bytes than its publisher states ({name} {found[name][:16]}… "
                f"instead of {value[:16]}…); they were deleted, try again later."
            )
    return Fetched(url, part.stat().st_size, found["sha256"])
