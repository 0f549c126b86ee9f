"""Where a Krita keeps its things: resource folder, settings file, Python version."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from maskgit_daemon.errors import MaskgitError

FLATPAK = "org.kde.krita"
PYTHONS = ((3, 8), (3, 9), (3, 10), (3, 11), (3, 13))
"""Pythons that Kritas embed; a limited-API wheel for 3.12 serves 3.13 and newer too."""

PREFIXES = ("/usr", "/usr/local")
FLATPAK_FILES = (
    "/var/lib/flatpak/app/org.kde.krita/current/active/files",
    "~/.local/share/flatpak/app/org.kde.krita/current/active/files",
)


class KritaPlaces(NamedTuple):
    """``data``: Krita's resource folder, which holds ``pykrita`` and ``actions``. ``settings``: the
    file that says which plugins are enabled (kritarc)."""

    data: Path
    settings: Path


class KritaProgram(NamedTuple):
    """An installed Krita, as far as files tell; None where they do not."""

    program: str
    version: str | None
    python: tuple[int, int] | None


def find_places(
    flatpak: bool = False,
    data_dir: Path | None = None,
    settings: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> KritaPlaces:
    """The user's Krita folders, honouring ``XDG_DATA_HOME`` and ``XDG_CONFIG_HOME`` on Linux.

    ``flatpak``: those of the Flatpak build. ``data_dir`` and ``settings`` override.
    """
    home = Path.home()
    if platform == "win32":
        roaming = Path(environ.get("APPDATA") or home / "AppData" / "Roaming")
        local = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        places = KritaPlaces(roaming / "krita", local / "kritarc")
    elif platform == "darwin":
        library = home / "Library"
        data = library / "Application Support" / "krita"
        places = KritaPlaces(data, library / "Preferences" / "kritarc")
    elif flatpak:
        sandbox = home / ".var" / "app" / FLATPAK
        places = KritaPlaces(sandbox / "data" / "krita", sandbox / "config" / "kritarc")
    else:
        data_home = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
        config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
        places = KritaPlaces(data_home / "krita", config_home / "kritarc")
    return KritaPlaces(data_dir or places.data, settings or places.settings)


def find_program(flatpak: bool = False) -> KritaProgram | None:
    """The Krita of this machine, or None; reads files only, for Krita itself needs a display."""
    if flatpak:
        prefixes = [Path(path).expanduser() for path in FLATPAK_FILES]
        program = next((f"flatpak run {FLATPAK}" for path in prefixes if path.is_dir()), None)
    else:
        found = shutil.which("krita")
        program = found
        prefixes = [Path(path) for path in PREFIXES if found and found.startswith(path + "/bin/")]
    if program is None:
        return None
    return KritaProgram(program, _version(prefixes), _python(prefixes))


def enabled(settings: Path, module: str) -> bool:
    """Whether kritarc enables the plugin ``module``."""
    wanted = f"enable_{module}"
    section = ""
    for line in _read(settings).splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[python]" and text.partition("=")[0].strip() == wanted:
            return text.partition("=")[2].strip() == "true"
    return False


def enable(settings: Path, module: str) -> None:
    """Enable a plugin in kritarc and keep every other byte of the file as it is."""
    if enabled(settings, module):
        return
    entry = f"enable_{module}=true"
    lines = _read(settings).splitlines()
    start = next((i for i, line in enumerate(lines) if line.strip() == "[python]"), None)
    if start is None:
        lines += ["", "[python]", entry] if lines else ["[python]", entry]
    else:
        ends = (i for i in range(start + 1, len(lines)) if lines[i].startswith("["))
        end = next(ends, len(lines))
        name = f"enable_{module}"
        same = (i for i in range(start + 1, end) if lines[i].partition("=")[0].strip() == name)
        at = next(same, None)
        if at is None:
            lines.insert(start + 1, entry)
        else:
            lines[at] = entry
    write_file(settings, ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape"))


def write_file(path: Path, data: bytes) -> None:
    """Replace a file whole or not at all; one sentence if it cannot be written."""
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(data)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise MaskgitError(
            f"The file {path} cannot be written ({error.strerror}); check the folder's permissions."
        ) from None


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise MaskgitError(
            f"The file {path} cannot be read ({error.strerror}); check its permissions."
        ) from None


def _version(prefixes: list[Path]) -> str | None:
    """From the newest release in the description that desktop software centres read."""
    for prefix in prefixes:
        for folder in ("metainfo", "appdata"):
            for path in sorted((prefix / "share" / folder).glob("org.kde.krita*.xml")):
                found = re.search(r'<release\b[^>]*\bversion="([^"]+)"', _read(path))
                if found:
                    return found[1]
    return None


def _python(prefixes: list[Path]) -> tuple[int, int] | None:
    """From the name of the Python library that Krita's plugin host is linked to."""
    for prefix in prefixes:
        for pattern in ("lib*/kritaplugins/kritapykrita.so", "lib/*/kritaplugins/kritapykrita.so"):
            for path in prefix.glob(pattern):
                found = re.search(rb"libpython3\.(\d+)", path.read_bytes())
                if found:
                    return 3, int(found[1])
    return None
