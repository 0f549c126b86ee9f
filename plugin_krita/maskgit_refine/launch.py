"""Start the user's daemon if none runs, and connect to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional

from .client import Client, connect
from .connection import ClientError, NoDaemonError, home_folder, read_connection, read_launcher

START_SECONDS = 30.0
GRACE_SECONDS = 2.0
LOOK_SECONDS = 0.05


def connect_or_start(folder: Optional[Path] = None) -> Client:
    """A client of the running daemon, or of one started now; blocks until it is ready."""
    try:
        return connect(folder)
    except NoDaemonError:
        return start_daemon(folder)


def start_daemon(folder: Optional[Path] = None, options: Optional[List[str]] = None) -> Client:
    """Start ``maskgit daemon`` detached from this process and connect to it.

    ``options``: further options of that command. Raises
    :class:`~maskgit_refine.connection.ClientError` with the daemon's own sentence if it cannot
    start, or if it is not ready within 30 seconds.
    """
    home = home_folder() if folder is None else folder
    command = [*read_launcher(home), "daemon", *(options or [])]
    stale = _session(home)
    with tempfile.TemporaryFile() as said:
        process = _spawn(command, home, said)
        ended: Optional[int] = None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            # One that ended found another daemon, perhaps: then that of the file is worth a try.
            if ended is not None or _session(home) != stale:
                with contextlib.suppress(NoDaemonError):
                    return connect(home)
            if ended is None:
                ended = process.poll()
                until = until if ended is None else min(until, time.monotonic() + GRACE_SECONDS)
            time.sleep(LOOK_SECONDS)
        if ended is not None:
            raise ClientError(_last_words(said, ended))
    raise ClientError(
        f"The daemon was not ready after {START_SECONDS:.0f} seconds; "
        "start it in a terminal to see why: maskgit daemon"
    )


def clean_environment(environ: Mapping[str, str]) -> Dict[str, str]:
    """The environment without what the host program set for its own Python and libraries."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    mount = environ.get("APPDIR")
    if mount:
        paths = kept.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
        own = [path for path in paths if path and not path.startswith(mount)]
        if own:
            kept["LD_LIBRARY_PATH"] = os.pathsep.join(own)
    return kept


def _spawn(command: List[str], home: Path, said: IO[bytes]) -> subprocess.Popen[bytes]:
    options: Dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP: outlive the caller and its console.
        options = {"creationflags": 0x00000008 | 0x00000200}
    environment = clean_environment(os.environ)
    if home != home_folder():
        environment["MASKGIT_HOME"] = str(home)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=str(home),
            env=environment,
            close_fds=True,
            **options,
        )
    except OSError as error:
        raise ClientError(
            f"The program {command[0]} cannot be started ({error.strerror}); "
            "run once in a terminal: maskgit daemon --detach"
        ) from None
    # Someone has to take its exit status, or it stays behind as a zombie of this process.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _session(home: Path) -> str:
    """The session in the connection file, or an empty text."""
    try:
        return read_connection(home).session
    except NoDaemonError:
        return ""


def _last_words(said: IO[bytes], status: int) -> str:
    said.seek(0)
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    text = (
        lines[-1] if lines else f"it ended with status {status}; run in a terminal: maskgit daemon"
    )
    return f"The daemon could not be started: {text}"
