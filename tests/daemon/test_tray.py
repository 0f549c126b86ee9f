"""``maskgit tray`` on a real (virtual) desktop: seen, clicked, and what it then does."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from maskgit_daemon.connection_file import is_locked, maskgit_command
from maskgit_refine.client import connect

OUTPUT = Path(__file__).parents[2] / "out" / "tray"
PROGRAMS = ("Xvfb", "trayer", "xdotool", "xwininfo", "import")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
if importlib.util.find_spec("PySide6") is None:
    MISSING.append("PySide6")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
SECONDS = 30


def wait_for(what: str, happened: Callable[[], object]) -> None:
    until = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < until, what
        time.sleep(0.1)


class Desktop:
    """A virtual screen with a home folder of its own."""

    def __init__(self, home: Path, ending: ExitStack) -> None:
        self.home = home
        self._ending = ending
        read, write = os.pipe()
        screen = ["Xvfb", "-noreset", "-displayfd", str(write), "-screen", "0", "800x600x24"]
        self.start([*screen, "-nolisten", "tcp"], dict(os.environ), pass_fds=(write,))
        os.close(write)
        with os.fdopen(read) as stream:
            display = stream.readline().strip()
        self.environment = dict(os.environ, DISPLAY=f":{display}", MASKGIT_HOME=str(home))
        self.environment.pop("QT_QPA_PLATFORM", None)

    def start(
        self,
        command: list[str],
        environment: dict[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[bytes]:
        """Run a program until the end of the test."""
        process = subprocess.Popen(
            command,
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=pass_fds,
        )
        self._ending.callback(process.wait, SECONDS)
        self._ending.callback(process.kill)
        return process

    def tool(self, *command: str) -> str:
        """What a program that ends by itself prints."""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        return done.stdout

    def icon(self) -> tuple[int, int] | None:
        """Middle of the icon in the tray, on the screen."""
        tree = self.tool("xwininfo", "-root", "-tree")
        panel = tree.partition('("panel" "trayer")')[2]
        found = re.search(
            r'\("maskgit" "maskgit"\)\s+(\d+)x(\d+)\+\d+\+\d+\s+\+(\d+)\+(\d+)', panel
        )
        if found is None:
            return None
        width, height, left, top = map(int, found.groups())
        return left + width // 2, top + height // 2

    def choose(self, key: str, shot: str) -> None:
        """Open the icon's menu with the right button and press the key of an entry."""
        before = self.windows()
        place = self.icon()
        assert place is not None
        self.tool("xdotool", "mousemove", *map(str, place), "click", "3")
        wait_for("no menu opens", lambda: self.windows() > before)
        time.sleep(0.3)  # drawn, for the picture
        OUTPUT.mkdir(parents=True, exist_ok=True)
        self.tool("import", "-window", "root", str(OUTPUT / f"{shot}.png"))
        self.tool("xdotool", "key", key)
        wait_for("the menu stays open", lambda: self.windows() <= before)

    def windows(self) -> int:
        """How many windows the tray program shows."""
        command = ["xdotool", "search", "--onlyvisible", "--class", "^maskgit$"]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return len(done.stdout.split())


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[Desktop]:
    with ExitStack() as ending:
        desktop = Desktop(tmp_path / "home", ending)
        yield desktop
        if is_locked(desktop.home):
            desktop.tool(*maskgit_command(), "daemon", "--stop")


def test_the_daemon_is_started_and_stopped_from_the_tray(desktop: Desktop) -> None:
    desktop.start(["trayer", "--edge", "top", "--align", "right", "--width", "10"])
    tray = desktop.start([*maskgit_command(), "tray"])
    wait_for("no icon in the tray", desktop.icon)
    desktop.choose("s", "stopped")
    wait_for("no daemon starts", lambda: (desktop.home / "connection.json").exists())
    with connect(desktop.home) as client:
        assert client.status()["jobs"] == 0
        time.sleep(2.0)  # the icon looks once a second
        desktop.choose("t", "running")
    wait_for("the daemon goes on", lambda: not is_locked(desktop.home))
    time.sleep(2.0)
    desktop.choose("s", "stopped-again")
    wait_for("no daemon starts", lambda: (desktop.home / "connection.json").exists())
    desktop.choose("q", "quit")
    assert tray.wait(SECONDS) == 0
    assert is_locked(desktop.home), "the daemon outlives its icon"


def test_one_icon_is_enough(desktop: Desktop) -> None:
    desktop.start(["trayer", "--edge", "top"])
    tray = desktop.start([*maskgit_command(), "tray"])
    wait_for("no icon in the tray", desktop.icon)
    second = subprocess.run(
        [*maskgit_command(), "tray"], env=desktop.environment, capture_output=True, check=False
    )
    assert (second.returncode, second.stderr) == (1, b"maskgit: The tray icon is shown already.\n")
    tray.terminate()
    assert tray.wait(SECONDS) == 0


def test_a_desktop_without_a_tray_is_told(desktop: Desktop) -> None:
    done = subprocess.run(
        [*maskgit_command(), "tray", "--wait", "0.5"],
        env=desktop.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "shows no system tray" in done.stderr
    headless = {k: v for k, v in desktop.environment.items() if k != "DISPLAY"}
    headless.pop("WAYLAND_DISPLAY", None)
    done = subprocess.run(
        [*maskgit_command(), "tray"],
        env=headless,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "There is no desktop" in done.stderr
