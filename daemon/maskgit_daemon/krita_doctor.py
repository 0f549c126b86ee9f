"""Examine what the plugin needs, one check a line, each with what to do if it fails."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from maskgit_daemon.krita_install import MODULE, plugin_files
from maskgit_daemon.kritas import KritaPlaces, KritaProgram, enabled
from maskgit_refine.connection import ClientError
from maskgit_refine.vendor import Target, find_wheel

LOAD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from maskgit_refine import vendor
plugin = Path(vendor.__file__).resolve().parent
print(vendor.load(plugin / "wheels", plugin.parent.parent / "maskgit_refine_library"))
"""


class Check(NamedTuple):
    """``ok``: True, False, or None where it could not be found out or does not matter."""

    name: str
    ok: bool | None
    detail: str


def examine(places: KritaPlaces, program: KritaProgram | None) -> Iterator[Check]:
    """All checks, in the order in which they should be mended."""
    python = program.python if program else None
    if program is None:
        yield Check("Krita", False, "not found; install it, or say --flatpak")
    else:
        yield Check("Krita", True, f"{program.version or 'of unknown version'} ({program.program})")
    version = f"{python[0]}.{python[1]}" if python else ""
    yield Check("its Python", True if python else None, version or "not known; all are served")
    interpreter = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    if interpreter and python:
        yield _qt(interpreter)

    plugin = places.data / "pykrita" / MODULE
    yield _installed(places)
    on = enabled(places.settings, MODULE)
    mend = "" if on else "; run: maskgit krita install"
    yield Check("plugin enabled", on, f"in {places.settings}{mend}")
    yield _pyzmq(places, interpreter if python else None, python)
    if plugin.is_dir():
        yield _daemon()


def _qt(interpreter: str) -> Check:
    done = subprocess.run(
        [interpreter, "-c", "import PyQt5.QtCore as q; print(q.PYQT_VERSION_STR)"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return Check("PyQt5", False, "missing, so Krita loads no plugin; install python3-pyqt5")
    return Check("PyQt5", True, done.stdout.strip())


def _installed(places: KritaPlaces) -> Check:
    plugins = places.data / "pykrita"
    parts = [plugins / f"{MODULE}.desktop", places.data / "actions" / f"{MODULE}.action"]
    missing = [str(path) for path in parts if not path.is_file()]
    different = []
    for name, data in plugin_files(()):
        path = plugins / MODULE / name
        if not path.is_file():
            missing.append(str(path))
        elif path.read_bytes() != data:
            different.append(name)
    if missing:
        return Check("plugin", False, f"{missing[0]} is missing; run: maskgit krita install")
    if different:
        detail = f"of another version ({different[0]} differs); run: maskgit krita install"
        return Check("plugin", False, detail)
    return Check("plugin", True, f"this version, in {plugins}")


def _pyzmq(places: KritaPlaces, interpreter: str | None, python: tuple[int, int] | None) -> Check:
    plugins = places.data / "pykrita"
    wheels = plugins / MODULE / "wheels"
    if interpreter and (plugins / MODULE).is_dir():
        done = subprocess.run(
            [interpreter, "-c", LOAD, str(plugins)], capture_output=True, text=True, check=False
        )
        last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
        return Check("pyzmq", done.returncode == 0, last[-1] if last else "does not load")
    if python is None:
        names = ", ".join(sorted(path.name for path in wheels.glob("*.whl")))
        return Check("pyzmq", None if names else False, names or "run: maskgit krita install")
    target = Target(python, sys.platform, platform.machine().lower())
    wheel = find_wheel(wheels, target)
    if wheel is None:
        return Check("pyzmq", False, "no wheel fits; run: maskgit krita install")
    return Check("pyzmq", None, f"{wheel.name} fits, loading it was not tried")


def _daemon() -> Check:
    from maskgit_refine.client import connect

    try:
        with connect() as client:
            return Check("daemon", True, f"runs as process {client.connection.pid}")
    except ClientError as error:
        return Check("daemon", None, f"{error} (The plugin starts it when it is needed.)")
