"""Make ``zmq`` importable from a wheel that came with the plugin.

Krita's Python has no pyzmq. The plugin carries wheels in ``wheels/``; the one that fits is
unpacked once into a folder of the user's outside the plugin and put on the import path. Outside,
because a loaded library cannot be replaced on Windows: it would block the plugin's next update.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

MACHINES = {
    "amd64": ("x86_64", "amd64"),
    "x86_64": ("x86_64", "amd64"),
    "arm64": ("aarch64", "arm64"),
    "aarch64": ("aarch64", "arm64"),
}


class VendorError(Exception):
    """pyzmq cannot be loaded; ``str(error)`` is one sentence for the user."""


class Target(NamedTuple):
    """A Python that a wheel must fit: version (major, minor), sys.platform, machine."""

    version: Tuple[int, int]
    system: str
    machine: str


def this_python() -> Target:
    """The Python that runs this."""
    return Target(sys.version_info[:2], sys.platform, platform.machine().lower())


def fits(wheel: str, target: Target) -> bool:
    """Whether a wheel's file name (PEP 427) promises to work in ``target``.

    A limited-API wheel (``abi3``) serves its own version and every newer one.
    """
    parts = wheel[: -len(".whl")].split("-") if wheel.endswith(".whl") else []
    if len(parts) < 5:
        return False
    python, abi, where = parts[-3:]
    exact = "cp%d%d" % target.version
    if abi == "abi3":
        known = python[3:].isdigit() and python.startswith("cp3")
        if not known or target.version < (3, int(python[3:])):
            return False
    elif python != exact or abi != exact:
        return False
    machines = (*MACHINES.get(target.machine, (target.machine,)), "universal2")
    prefix = {"linux": ("manylinux", "linux"), "win32": ("win",), "darwin": ("macosx",)}
    return any(
        tag.startswith(prefix.get(target.system, ())) and tag.endswith(machines)
        for tag in where.split(".")
    )


def find_wheel(folder: Path, target: Target) -> Optional[Path]:
    """The newest wheel in ``folder`` that fits, or None."""
    wheels: List[Path] = [path for path in folder.glob("pyzmq-*.whl") if fits(path.name, target)]
    return max(wheels, key=lambda path: _version(path.name), default=None)


def load(wheels: Path, library: Path) -> str:
    """Import zmq and return its version; unpack the fitting wheel of ``wheels`` first.

    ``library``: the user's folder that takes one sub-folder for each wheel. A zmq that is loaded
    already is kept (a second copy in one process cannot work). Raises :class:`VendorError`.
    """
    if "zmq" not in sys.modules:
        wheel = find_wheel(wheels, this_python())
        if wheel is not None:
            sys.path.insert(0, str(unpack(wheel, library)))
    try:
        return str(importlib.import_module("zmq").__version__)
    except ImportError as error:
        raise VendorError(
            "The plugin's network library pyzmq does not load in Krita's Python %d.%d (%s); "
            "run: maskgit krita install --python-version %d.%d"
            % (*sys.version_info[:2], error, *sys.version_info[:2])
        ) from error


def unpack(wheel: Path, library: Path) -> Path:
    """Unpack ``wheel`` into a folder of its name under ``library``, whole or not at all."""
    folder = library / wheel.name[: -len(".whl")]
    if folder.is_dir():
        return folder
    scratch = ""
    try:
        library.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(dir=str(library))
        with zipfile.ZipFile(str(wheel)) as archive:
            archive.extractall(scratch)
        os.replace(scratch, str(folder))
    except (OSError, zipfile.BadZipFile) as error:
        if scratch:
            shutil.rmtree(scratch, ignore_errors=True)
        if not folder.is_dir():  # else another Krita was faster
            raise VendorError(
                f"The plugin's network library could not be unpacked to {folder} ({error}); "
                "free some space there or run: maskgit krita install"
            ) from error
    return folder


def _version(name: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in name.split("-")[1].split(".") if part.isdigit())
