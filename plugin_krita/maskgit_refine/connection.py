"""Where the daemon is: the folder it shares with its clients, and the two files in it.

``connection.json`` tells of the daemon that runs now; ``launcher.json`` of the program that starts
one, and outlives it. Both lie in one folder of the user's real home, because a sandboxed Krita has
its XDG folders elsewhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

FOLDER = ".maskgit"
CONNECTION = "connection.json"
LAUNCHER = "launcher.json"


class ClientError(Exception):
    """What a user of the client can understand; ``str(error)`` is one sentence."""


class NoDaemonError(ClientError):
    """No daemon runs, or what is left of one does not answer."""


class Connection(NamedTuple):
    """What a client needs to talk to the daemon. Keys are Z85 texts of 40 characters."""

    endpoint: str
    server_key: str
    client_key: str
    client_secret: str
    pid: int
    session: str
    version: str
    maskgit: str


def real_home(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's home as seen outside Flatpak's and Snap's redirections."""
    told = environ.get("SNAP_REAL_HOME") or environ.get("HOME") or environ.get("USERPROFILE")
    home = Path(told) if told else Path.home()
    parts = home.parts
    for index in range(1, len(parts)):
        flatpak = parts[index : index + 2] == (".var", "app")
        snap = parts[index] == "snap" and "SNAP" in environ
        if flatpak or snap:
            return Path(*parts[:index])
    return home


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder that daemon and clients share: ``MASKGIT_HOME``, else ``~/.maskgit``."""
    told = environ.get("MASKGIT_HOME")
    return Path(told).absolute() if told else real_home(environ) / FOLDER


def read_connection(folder: Optional[Path] = None) -> Connection:
    """The daemon's connection file, or :class:`NoDaemonError`; the daemon may be dead by now."""
    path = (home_folder() if folder is None else folder) / CONNECTION
    values = _read_json(path)
    if values is None:
        raise NoDaemonError("No daemon is running; start one with: maskgit daemon --detach")
    kept: Dict[str, Any] = {name: values.get(name) for name in Connection._fields}
    texts = all(isinstance(value, str) for name, value in kept.items() if name != "pid")
    if not texts or not isinstance(kept["pid"], int):
        raise NoDaemonError(f"The connection file {path} is damaged; start the daemon anew.")
    return Connection(**kept)


def read_launcher(folder: Optional[Path] = None) -> List[str]:
    """The command line that runs the program ``maskgit``, or :class:`NoDaemonError`."""
    home = home_folder() if folder is None else folder
    command = (_read_json(home / LAUNCHER) or {}).get("command")
    if not isinstance(command, list) or not command or not all(map(_is_text, command)):
        raise NoDaemonError(
            "It is not known where the program maskgit is installed; "
            "run once in a terminal: maskgit daemon --detach"
        )
    if not os.path.exists(command[0]):
        raise NoDaemonError(
            f"The program {command[0]} is not there (any more, or not visible to this program); "
            "run once in a terminal: maskgit daemon --detach"
        )
    return command


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _read_json(path: Path) -> Optional[Dict[str, Any]]:
    """The object in a file, {} if it holds something else, None if there is no file."""
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoDaemonError(
            f"The file {path} cannot be read ({error.strerror}); check its permissions."
        ) from None
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
