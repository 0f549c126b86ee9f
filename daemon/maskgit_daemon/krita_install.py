"""Put the plugin, with pyzmq wheels that fit Krita's Python, into a folder or a zip."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import maskgit_refine
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.kritas import KritaPlaces, enable, write_file
from maskgit_refine.vendor import Target, fits

MODULE = "maskgit_refine"
PACKAGE = Path(maskgit_refine.__file__).resolve().parent
SHIPPED = (".py", ".html", ".typed")
PLATFORMS = {
    ("linux", "x86_64"): ("manylinux2014", "manylinux_2_26", "manylinux_2_28"),
    ("linux", "aarch64"): ("manylinux2014", "manylinux_2_26", "manylinux_2_28"),
    ("win32", "amd64"): ("win",),
    ("darwin", "x86_64"): ("macosx_10_9", "macosx_10_15"),
    ("darwin", "arm64"): ("macosx_11_0", "macosx_10_15"),
}


def this_machine() -> tuple[str, str]:
    """(sys.platform, machine) in the spelling of :data:`PLATFORMS`."""
    return sys.platform, platform.machine().lower()


def install(places: KritaPlaces, wheels: Sequence[Path]) -> None:
    """Copy the plugin and ``wheels`` into Krita's resource folder and enable it.

    An older copy is replaced whole; settings, keys and unpacked libraries lie elsewhere and stay.
    """
    plugins = places.data / "pykrita"
    try:
        plugins.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{MODULE}-", dir=plugins) as scratch:
            new = Path(scratch) / MODULE
            for name, data in plugin_files(wheels):
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            with contextlib.suppress(FileNotFoundError):
                os.replace(plugins / MODULE, Path(scratch) / "old")
            os.replace(new, plugins / MODULE)
    except OSError as error:
        raise MaskgitError(
            f"The plugin cannot be put into {plugins} ({error.strerror}); close Krita, check the "
            "folder's permissions and free space, and run this again."
        ) from None
    write_file(plugins / f"{MODULE}.desktop", shipped(f"{MODULE}.desktop").read_bytes())
    actions = places.data / "actions"
    write_file(actions / f"{MODULE}.action", shipped(f"{MODULE}.action").read_bytes())
    enable(places.settings, MODULE)


def package(output: Path, wheels: Sequence[Path]) -> None:
    """Write the zip that Krita's own importer takes (Tools ▸ Scripts ▸ Import Python Plugin)."""
    scratch = output.with_name(output.name + ".part")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir(MODULE) if sys.version_info >= (3, 11) else archive.writestr(
                zipfile.ZipInfo(f"{MODULE}/"), b""
            )
            for name in (f"{MODULE}.desktop", f"{MODULE}.action"):
                archive.writestr(name, shipped(name).read_bytes())
            for name, data in plugin_files(wheels):
                archive.writestr(f"{MODULE}/{name}", data)
        os.replace(scratch, output)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise MaskgitError(
            f"The zip {output} cannot be written ({error.strerror}); choose another folder with -o."
        ) from None


def plugin_files(wheels: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """(path in the plugin's package, content) of all that Krita gets."""
    for path in sorted(PACKAGE.iterdir()):
        if path.suffix in SHIPPED:
            yield path.name, path.read_bytes()
    for wheel in wheels:
        yield f"wheels/{wheel.name}", wheel.read_bytes()


def shipped(name: str) -> Path:
    """A file that lies beside the package in the repository, under share/ when installed."""
    beside = PACKAGE.parent / name
    installed = Path(sysconfig.get_path("data")) / "share" / "maskgit-refine" / "krita" / name
    for path in (beside, installed):
        if path.is_file():
            return path
    raise MaskgitError(f"The file {name} is missing from this installation; install it again.")


def check_wheels(wheels: Sequence[Path], pythons: Iterable[tuple[int, int]]) -> None:
    """Refuse given wheels unless one of them fits each Python on this machine."""
    system, machine = this_machine()
    for python in pythons:
        if not any(fits(wheel.name, Target(python, system, machine)) for wheel in wheels):
            raise MaskgitError(
                f"No given wheel is a pyzmq for Python {python[0]}.{python[1]} on this machine; "
                "download one with: pip download --no-deps pyzmq"
            )


def fetch_wheels(
    folder: Path, pythons: Sequence[tuple[int, int]], machines: Sequence[tuple[str, str]]
) -> list[Path]:
    """Download a pyzmq wheel for each Python and machine into ``folder`` with pip.

    One limited-API wheel may serve several; each file is fetched once. Raises
    :class:`MaskgitError` if pip or the network is missing.
    """
    for system, machine in machines:
        for python in pythons:
            target = Target(python, system, machine)
            if not any(fits(wheel.name, target) for wheel in folder.glob("*.whl")):
                _download(folder, target)
    return sorted(folder.glob("*.whl"))


def _download(folder: Path, target: Target) -> None:
    version = f"{target.version[0]}.{target.version[1]}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += [
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--retries",
        "1",
        "--dest",
        str(folder),
    ]
    command += ["--python-version", version, "--implementation", "cp"]
    prefixes = PLATFORMS.get((target.system, target.machine))
    if prefixes is None:
        raise MaskgitError(
            f"No pyzmq is made for {target.system} on {target.machine}; give a wheel with --wheel."
        )
    for prefix in prefixes:
        command += ["--platform", f"{prefix}_{target.machine}"]
    done = subprocess.run([*command, "pyzmq>=25"], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = said[-1].removeprefix("ERROR:").strip() if said else "pip failed"
        raise MaskgitError(
            f"pyzmq for Python {version} could not be downloaded ({reason}); connect to the "
            "network and run this again, or give a wheel file with --wheel."
        )
