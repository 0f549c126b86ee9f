"""Runs one scenario inside Krita and writes what happened as JSON.

The scenario's name, its arguments and the folder for report and screenshots come in the
environment variable ``MASKGIT_DRIVER`` as JSON. Every step of a scenario runs from Krita's own
top-level event loop, because node updates arrive only there.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path

from krita import Extension, Krita
from PyQt5.QtCore import QThread, QTimer

from . import probes, scenarios
from .stage import Stage

STEP_MS = 15
STEP_TIMEOUT = 90.0


class Driver(Extension):
    def __init__(self, parent, task):
        super().__init__(parent)
        self.folder = Path(task["folder"])
        self.task = task
        self.stage = None
        self.work = None
        self.until = None
        self.since = 0.0

    def setup(self):
        sys.excepthook = lambda *error: self.finish("".join(traceback.format_exception(*error)))

    def createActions(self, window):  # noqa: N802 (Krita calls it so)
        QTimer.singleShot(400, self.begin)

    def begin(self):
        # Krita turns the loop while it starts; what is deleted "later" then is never deleted
        if QThread.currentThread().loopLevel() < 1:
            QTimer.singleShot(100, self.begin)
            return
        self.stage = Stage(Krita.instance(), self.folder, self.task.get("arguments", {}))
        self.work = getattr(scenarios, self.task["scenario"])(self.stage)
        self.step()

    def step(self):
        try:
            if self.until is not None and not self.until():
                if time.monotonic() - self.since > STEP_TIMEOUT:
                    raise TimeoutError("the scenario waited in vain; see the screenshot")
            else:
                self.until, self.since = next(self.work), time.monotonic()
        except StopIteration:
            self.finish(None)
            return
        except Exception:
            self.finish(traceback.format_exc())
            return
        QTimer.singleShot(STEP_MS, self.step)

    def finish(self, error):
        report = dict(self.stage.report if self.stage else {}, error=error)
        if error:
            probes.screenshot(self.folder / "error.png")
        scratch = self.folder / "report.json.part"
        scratch.write_text(json.dumps(report, indent=1))
        os.replace(str(scratch), str(self.folder / "report.json"))
        if error:
            sys.stderr.flush()
            os._exit(3)
        for document in Krita.instance().documents():
            document.setModified(False)
        Krita.instance().action("file_quit").trigger()


if "MASKGIT_DRIVER" in os.environ:
    Krita.instance().addExtension(
        Driver(Krita.instance(), json.loads(os.environ["MASKGIT_DRIVER"]))
    )
