"""Run scenarios in the real Krita: a virtual screen, a profile of its own, a report back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from maskgit_daemon.commands.krita import profile_environment

DRIVER = Path(__file__).parent / "driver"
NEEDED = ("krita", "Xvfb", "xauth", "xdotool", "dbus-run-session")
DISPLAY_SETTINGS = "[General]\nOpenGLRenderer=none\n"
# No welcome page news, no splash; a window of a known size.
KRITA_SETTINGS = "[MainWindow]\n\n[python]\nenable_maskgit_driver=true\n"
SCREEN = "1500x950x24"
SCENARIO_SECONDS = 240


def missing_parts() -> list[str]:
    """What must be installed before Krita can be driven here."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    system = "/usr/bin/python3"
    code = "import PyQt5.QtCore"
    if subprocess.run([system, "-c", code], capture_output=True, check=False).returncode:
        missing.append("python3-pyqt5")
    return missing


class Profile:
    """A home, Krita settings, a daemon folder and the environment that goes with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.maskgit_home = folder / "maskgit"
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "XDG_", "MASKGIT_", "VIRTUAL_ENV"))
        }
        self.environment |= profile_environment(folder)
        runtime = folder / "runtime"
        for path, mode in ((runtime, 0o700), (folder / "tmp", 0o700), (self.maskgit_home, 0o700)):
            path.mkdir(mode=mode, exist_ok=True)
        self.environment |= {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "TMPDIR": str(folder / "tmp"),
            "MASKGIT_HOME": str(self.maskgit_home),
            "LANG": "C.UTF-8",
        }

    def maskgit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program ``maskgit`` as this profile's user."""
        program = Path(sys.executable).with_name("maskgit")
        return subprocess.run(
            [str(program), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def prepare(self) -> None:
        """Settings for a quiet Krita, and the driver plugin."""
        config = Path(self.environment["XDG_CONFIG_HOME"])
        (config / "kritadisplayrc").write_text(DISPLAY_SETTINGS)
        (config / "kritarc").write_text(KRITA_SETTINGS)
        plugins = Path(self.environment["XDG_DATA_HOME"]) / "krita" / "pykrita"
        shutil.copytree(DRIVER, plugins, dirs_exist_ok=True)

    def copy(self, folder: Path) -> "Profile":
        """The same, warmed already, for one test."""
        shutil.copytree(self.folder, folder, symlinks=True, dirs_exist_ok=True)
        return Profile(folder)

    def run(
        self, scenario: str, output: Path, by_maskgit: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Run Krita with one scenario and return its report; fails if the scenario does.

        ``by_maskgit``: let ``maskgit krita run`` start it, as a user would.
        """
        output.mkdir(parents=True, exist_ok=True)
        for old in output.iterdir():
            old.unlink()
        task = {"scenario": scenario, "folder": str(output.absolute()), "arguments": arguments}
        environment = dict(self.environment, MASKGIT_DRIVER=json.dumps(task))
        program = ["krita", "--nosplash"]
        if by_maskgit:
            program = [str(Path(sys.executable).with_name("maskgit")), "krita", "run"]
        command = ["dbus-run-session", "--", *program]
        screen = ["xvfb-run", "-a", "-s", f"-screen 0 {SCREEN} -nolisten tcp"]
        began = time.monotonic()
        with open(output / "krita.log", "wb") as log:
            process = subprocess.Popen(
                [*screen, *command],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(SCENARIO_SECONDS)
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # Xvfb and Krita with it
                process.wait(10)
                raise
        report_file = output / "report.json"
        if not report_file.exists():
            tail = (output / "krita.log").read_text(errors="replace")[-3000:]
            raise AssertionError(f"Krita ended with {status} and no report:\n{tail}")
        report: dict[str, Any] = json.loads(report_file.read_text())
        report["seconds"] = round(time.monotonic() - began, 1)
        assert report["error"] is None, report["error"]
        assert status == 0, f"Krita ended with status {status}"
        return report
