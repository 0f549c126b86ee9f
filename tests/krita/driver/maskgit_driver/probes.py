"""What a test can see of Krita from inside: documents, messages, times, the screen."""

import hashlib
import sys
import time
from pathlib import Path

from PyQt5.QtCore import QTimer
from PyQt5.QtGui import QGuiApplication

PACKAGE = "/maskgit_refine/"


def screenshot(path):
    """The whole (virtual) screen as a PNG."""
    QGuiApplication.primaryScreen().grabWindow(0).save(str(path))


def describe(document):
    """Everything that a failed job must leave alone, as plain values."""
    area = (0, 0, document.width(), document.height())
    selection = document.selection()
    return {
        "layers": [_node(node, area, 0) for node in _walk(document.rootNode())],
        "selection": None if selection is None else digest(selection.pixelData(*area)),
        "size": [document.width(), document.height()],
        "active": document.activeNode().name() if document.activeNode() else None,
    }


def digest(data):
    return hashlib.sha256(bytes(data)).hexdigest()[:16]


def _walk(node):
    for child in node.childNodes():
        yield child
        yield from _walk(child)


def _node(node, area, _depth):
    return {
        "name": node.name(),
        "type": node.type(),
        "id": node.uniqueId().toString(),
        "parent": node.parentNode().name() if node.parentNode() else None,
        "pixels": digest(node.pixelData(*area)),
        "opacity": node.opacity(),
        "visible": node.visible(),
        "locked": node.locked(),
        "depth": node.colorDepth(),
    }


class Heartbeat:
    """The longest time in which the GUI thread's event loop did not turn, in milliseconds."""

    def __init__(self, period_ms=4):
        self.longest = 0.0
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(period_ms)

    def _beat(self):
        now = time.perf_counter()
        self.longest = max(self.longest, (now - self._last) * 1000)
        self._last = now

    def stop(self):
        self._timer.stop()
        return round(self.longest, 1)


class FirstTime:
    """When a condition became true, seen to within 3 ms; ``at`` is None until then."""

    def __init__(self, condition):
        self.began = time.perf_counter()
        self.at = None
        self._condition = condition
        self._timer = QTimer()
        self._timer.timeout.connect(self._look)
        self._timer.start(3)

    def _look(self):
        if self._condition():
            self.at = time.perf_counter()
            self._timer.stop()

    def seconds(self):
        return self.at - self.began


class HandlerTimes:
    """How long Krita's thread stays in the plugin at a stretch, by entry point, in milliseconds.

    ``longest``: {entry: [wall clock, of it on the processor]}. On a busy machine the wall clock
    also counts the time in which other programs had the processor.
    """

    def __init__(self):
        self.longest = {}
        self._depth = 0
        self._began = (0.0, 0.0)
        sys.setprofile(self._trace)

    def _trace(self, frame, event, _argument):
        if event not in ("call", "return") or PACKAGE not in frame.f_code.co_filename:
            return
        if event == "call":
            if self._depth == 0:
                self._began = (time.perf_counter(), time.thread_time())
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            if self._depth == 0:
                wall = (time.perf_counter() - self._began[0]) * 1000
                processor = (time.thread_time() - self._began[1]) * 1000
                name = f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
                before = self.longest.get(name, (0.0, 0.0))
                self.longest[name] = (
                    round(max(before[0], wall), 2),
                    round(max(before[1], processor), 2),
                )

    def stop(self):
        sys.setprofile(None)
        return self.longest
