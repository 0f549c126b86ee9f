"""``maskgit krita``: put the plugin into Krita, pack it, examine it, run Krita with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from maskgit_daemon.connection_file import write_launcher
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.krita_install import (
    PLATFORMS,
    check_wheels,
    fetch_wheels,
    this_machine,
)
from maskgit_daemon.krita_install import install as install_plugin
from maskgit_daemon.krita_install import package as package_plugin
from maskgit_daemon.kritas import PYTHONS, find_places, find_program
from maskgit_refine.connection import home_folder

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
SYSTEMS = {"linux": "linux", "windows": "win32", "macos": "darwin"}

flatpak_option = click.option("--flatpak", is_flag=True, help="The Krita installed by Flatpak.")
data_option = click.option(
    "--data-dir", type=FOLDER, help="Krita's resource folder, if it is not the usual one."
)
settings_option = click.option(
    "--settings", type=FILE, help="Krita's settings file (kritarc), if it is not the usual one."
)
wheel_option = click.option(
    "--wheel",
    "wheels",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A pyzmq wheel at hand, instead of downloading one.",
)


def _versions(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[int, int], ...]:
    """Python versions such as 3.11, as (3, 11)."""
    for value in values:
        if re.fullmatch(r"3\.\d{1,3}", value) is None:
            raise click.BadParameter(f"{value!r} is not a version such as 3.11", ctx, param)
    return tuple((3, int(value[2:])) for value in values)


@click.group()
def krita() -> None:
    """Put the plugin into Krita, pack it as a zip, or examine the installation."""


@krita.command()
@flatpak_option
@data_option
@settings_option
@click.option(
    "--python-version",
    "pythons",
    multiple=True,
    metavar="X.Y",
    callback=_versions,
    help="Python inside Krita; found out if not given, and else all that Kritas have are served.",
)
@wheel_option
def install(
    flatpak: bool,
    data_dir: Path | None,
    settings: Path | None,
    pythons: tuple[tuple[int, int], ...],
    wheels: tuple[Path, ...],
) -> None:
    """Install the plugin and a pyzmq that fits into Krita's folder and enable it."""
    places = find_places(flatpak, data_dir, settings)
    program = find_program(flatpak)
    if not pythons and program is not None and program.python is not None:
        pythons = (program.python,)
    if wheels:
        check_wheels(wheels, pythons)
    with tempfile.TemporaryDirectory() as folder:
        found = wheels or fetch_wheels(Path(folder), pythons or PYTHONS, (this_machine(),))
        install_plugin(places, found)
    write_launcher(home_folder())
    served = ", ".join(f"{major}.{minor}" for major, minor in pythons or PYTHONS)
    click.echo(f"Installed and enabled in {places.data} (Python {served}); restart Krita.")


@krita.command()
@click.option("-o", "--output", type=FILE, default="maskgit_refine.zip", show_default=True)
@click.option(
    "--python-version",
    "pythons",
    multiple=True,
    metavar="X.Y",
    callback=_versions,
    help="Python inside Krita (default: all that Kritas have).",
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    type=click.Choice(list(SYSTEMS)),
    help="Systems the zip is for (default: this machine's).",
)
@wheel_option
def package(
    output: Path,
    pythons: tuple[tuple[int, int], ...],
    systems: tuple[str, ...],
    wheels: tuple[Path, ...],
) -> None:
    """Write the zip for Krita's menu Tools ▸ Scripts ▸ Import Python Plugin from File."""
    wanted = [SYSTEMS[name] for name in systems]
    machines = [pair for pair in PLATFORMS if pair[0] in wanted] or [this_machine()]
    with tempfile.TemporaryDirectory() as folder:
        found = wheels or fetch_wheels(Path(folder), pythons or PYTHONS, machines)
        package_plugin(output, found)
    click.echo(output)


@krita.command()
@flatpak_option
@data_option
@settings_option
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def doctor(flatpak: bool, data_dir: Path | None, settings: Path | None, as_json: bool) -> None:
    """Check Krita, the plugin, its library and the daemon; exit status 1 if something is wrong."""
    from maskgit_daemon.krita_doctor import examine

    checks = list(examine(find_places(flatpak, data_dir, settings), find_program(flatpak)))
    if as_json:
        click.echo(json.dumps([check._asdict() for check in checks], indent=1))
    else:
        marks = {True: "ok", False: "WRONG", None: "-"}
        width = max(len(check.name) for check in checks)
        for check in checks:
            click.echo(f"{check.name:<{width}}  {marks[check.ok]:<5}  {check.detail}")
    if any(check.ok is False for check in checks):
        sys.exit(1)


@krita.command()
@click.option(
    "--profile", type=FOLDER, help="Use Krita settings of their own in this folder, not yours."
)
@wheel_option
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
def run(profile: Path | None, wheels: tuple[Path, ...], files: tuple[Path, ...]) -> None:
    """Open Krita with the plugin enabled and the daemon running; returns when Krita ends."""
    from maskgit_refine.launch import clean_environment, connect_or_start

    program = shutil.which("krita")
    if program is None:
        raise MaskgitError("Krita is not installed; install it first (Debian: apt install krita).")
    if sys.platform.startswith("linux") and not _has_display():
        raise MaskgitError("There is no display to open Krita on; run this on a desktop.")
    environment = clean_environment(os.environ)
    places = find_places()
    if profile is not None:
        environment |= profile_environment(profile)
        places = find_places(environ=environment)
    known = find_program()
    pythons = (known.python,) if known and known.python else PYTHONS
    with tempfile.TemporaryDirectory() as folder:
        install_plugin(places, wheels or fetch_wheels(Path(folder), pythons, (this_machine(),)))
    write_launcher(home_folder())
    with connect_or_start() as client:
        click.echo(f"The daemon runs as process {client.connection.pid}.")
    environment["MASKGIT_HOME"] = str(home_folder())
    ended = subprocess.run([program, "--nosplash", *map(str, files)], env=environment, check=False)
    if ended.returncode:
        raise MaskgitError(f"Krita ended with status {ended.returncode}.")


def profile_environment(profile: Path) -> dict[str, str]:
    """Environment variables that give Krita settings and resources of its own in ``profile``."""
    folder = profile.absolute()
    names = {"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    for name in names.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {variable: str(folder / name) for variable, name in names.items()}


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY"))
