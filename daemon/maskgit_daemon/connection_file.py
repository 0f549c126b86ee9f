"""The daemon's side of the folder it shares with its clients: lock, keys, and the files in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import zmq
from filelock import FileLock, Timeout

from maskgit_daemon.errors import MaskgitError
from maskgit_refine.connection import CONNECTION, LAUNCHER, Connection

LOCK = "daemon.lock"
SERVER_KEYS = "server_keys.json"


class KeyPair(NamedTuple):
    """A CURVE key pair as Z85 texts of 40 characters."""

    public: str
    secret: str


def new_keys() -> KeyPair:
    """A fresh key pair."""
    public, secret = zmq.curve_keypair()
    return KeyPair(public.decode(), secret.decode())


def prepare_folder(home: Path) -> None:
    """Make the shared folder, open to its owner alone."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise MaskgitError(
            f"The folder {home} cannot be made ({error.strerror}); check its parent's permissions."
        ) from None


def hold_lock(home: Path) -> FileLock:
    """The lock that makes this the user's one daemon; held until released or the process ends."""
    lock = FileLock(home / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise MaskgitError(
            "A daemon is running already; stop it first with: maskgit daemon --stop"
        ) from None
    return lock


def is_locked(home: Path) -> bool:
    """Whether a daemon holds the lock just now."""
    if not (home / LOCK).exists():
        return False
    lock = FileLock(home / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def server_keys(home: Path) -> KeyPair:
    """The daemon's lasting keys, by which far clients know it; made at the first call."""
    path = home / SERVER_KEYS
    with contextlib.suppress(OSError, ValueError, TypeError):
        kept = KeyPair(**json.loads(path.read_text("utf-8")))
        if zmq.curve_public(kept.secret.encode()).decode() == kept.public:
            return kept
    keys = new_keys()
    write_private(path, keys._asdict())
    return keys


def write_connection(home: Path, connection: Connection) -> None:
    """Tell clients of the daemon; to be called once it is bound and serves."""
    write_private(home / CONNECTION, connection._asdict())


def remove_connection(home: Path) -> None:
    """Take the connection file away; one that is gone already is fine."""
    with contextlib.suppress(OSError):
        (home / CONNECTION).unlink(missing_ok=True)


def maskgit_command() -> list[str]:
    """The command line that runs this installation's ``maskgit``, by absolute path."""
    name = "maskgit.exe" if os.name == "nt" else "maskgit"
    beside = Path(sys.executable).absolute().with_name(name)
    if beside.is_file():
        return [str(beside)]
    found = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name == name else shutil.which(name)
    if found:
        return [str(Path(found).absolute())]
    return [str(Path(sys.executable).absolute()), "-m", "maskgit_daemon.commands.main"]


def write_launcher(home: Path) -> None:
    """Tell clients how to start a daemon when none runs."""
    prepare_folder(home)
    write_private(home / LAUNCHER, {"command": maskgit_command()})


def write_private(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON that its owner alone can read: all of it or, if that fails, nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1)
        os.replace(name, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise MaskgitError(
            f"The file {path} cannot be written ({error.strerror}); make room for it and try again."
        ) from None
