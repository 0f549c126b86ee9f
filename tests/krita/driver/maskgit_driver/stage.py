"""Krita as a scenario sees it: windows, documents, the plugin's docker, the mouse."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from krita import Selection
from PyQt5.QtCore import QByteArray
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton, QSlider

from . import probes

ACTION = "maskgit_refine_selection"


class Stage:
    """What the scenarios share: Krita, the folder for pictures, the report being written."""

    def __init__(self, application, folder, arguments):
        self.application = application
        self.folder = folder
        self.arguments = arguments
        self.report = {}
        application.activeWindow().qwindow().setGeometry(0, 0, 1500, 950)

    def window(self):
        return self.application.activeWindow()

    def message(self):
        """The docker's status line."""
        return self.window().qwindow().findChild(QLabel, "maskgit_refine_status").text()

    def preview(self):
        """The picture that the docker shows, or None."""
        label = self.window().qwindow().findChild(QLabel, "maskgit_refine_preview")
        return label.pixmap() if label.pixmap() and not label.pixmap().isNull() else None

    def floating(self):
        """The message that floats over the canvas, or None."""
        for widget in QApplication.allWidgets():
            if widget.metaObject().className() == "KisFloatingMessage" and widget.isVisible():
                return next(label.text() for label in widget.findChildren(QLabel) if label.text())
        return None

    def button(self, name):
        return self.window().qwindow().findChild(QPushButton, name)

    def busy(self):
        return self.button("maskgit_refine_cancel").isEnabled()

    def trigger(self):
        self.application.action(ACTION).trigger()

    def picture(self, name):
        probes.screenshot(self.folder / name)

    def set_seed(self, seed, steps=8, preview=False, strength=1.0):
        values = {"seed": seed, "random_seed": False, "steps": steps, "preview": preview}
        values["strength"] = strength
        for key, value in values.items():
            self.application.writeSetting("maskgit_refine", key, str(value))

    def move_strength(self, percent):
        """As the artist does it, by the docker's slider."""
        qwindow = self.window().qwindow()
        qwindow.findChild(QSlider, "maskgit_refine_strength").setValue(percent)

    def open_picture(self, path, name="picture"):
        """A new 8-bit document that shows the picture file, with a view."""
        image = QImage(str(path)).convertToFormat(QImage.Format_ARGB32)
        document = self.new_document(image.width(), image.height(), name=name)
        data = image.constBits().asstring(image.width() * image.height() * 4)
        layer = document.activeNode()
        layer.setPixelData(QByteArray(data), 0, 0, image.width(), image.height())
        document.refreshProjection()
        return document

    def fade(self, document):
        """Make the active layer half transparent, pixel by pixel."""
        area = (0, 0, document.width(), document.height())
        data = bytearray(bytes(document.activeNode().pixelData(*area)))
        data[3::4] = bytes([128]) * (len(data) // 4)
        document.activeNode().setPixelData(QByteArray(bytes(data)), *area)
        document.refreshProjection()

    def new_document(self, width=320, height=240, model="RGBA", depth="U8", name="empty"):
        document = self.application.createDocument(width, height, name, model, depth, "", 120.0)
        self.window().addView(document)
        return document

    def select(self, document, left, top, width, height):
        selection = Selection()
        selection.select(left, top, width, height, 255)
        document.setSelection(selection)
        return selection

    def step(self):
        """How many decoding steps the docker shows as done."""
        docker = self.button("maskgit_refine_cancel").parentWidget()
        bar = docker.findChild(QProgressBar)
        return bar.value() if bar.maximum() > 1 else 0

    def ragged(self, document, left, top, width, height):
        """A soft selection with a ragged edge and holes; may reach over the canvas."""
        draw = random.Random(5)
        mask = bytearray()
        for y in range(height):
            for x in range(width):
                edge = min(x, y, width - 1 - x, height - 1 - y)
                mask.append(min(255, max(0, edge * 12 - draw.randrange(90))))
        selection = Selection()
        selection.setPixelData(QByteArray(bytes(mask)), left, top, width, height)
        document.setSelection(selection)

    def dump(self, name, document, layer=None):
        """Raw bytes for the test to compare: RGBA-sized BGRA rows of the canvas."""
        area = (0, 0, document.width(), document.height())
        node = document if layer is None else layer
        (self.folder / f"{name}.raw").write_bytes(bytes(node.pixelData(*area)))

    def dump_selection(self, name, document):
        area = (0, 0, document.width(), document.height())
        (self.folder / f"{name}.raw").write_bytes(bytes(document.selection().pixelData(*area)))

    def result_layers(self, document):
        nodes = document.rootNode().childNodes()
        return [node for node in nodes if node.name().startswith("MaskGIT Refine")]

    def connection_file(self):
        return Path(os.environ["MASKGIT_HOME"]) / "connection.json"

    def kill_daemon(self):
        os.kill(json.loads(self.connection_file().read_text())["pid"], signal.SIGKILL)

    def click(self, point):
        """A real click of the mouse at a point of the screen."""
        subprocess.Popen(["xdotool", "mousemove", str(point.x()), str(point.y()), "click", "1"])

    def click_button(self, name):
        button = self.button(name)
        self.click(button.mapToGlobal(button.rect().center()))

    def click_through_menu(self):
        """Tools, Scripts, MaskGIT Refine Selection, by mouse; yields like a scenario."""
        holder = self.window().qwindow().menuBar()
        wanted = self.application.action(ACTION)
        for _ in range(3):
            entry = next(a for a in holder.actions() if _leads_to(a, wanted))
            self.click(holder.mapToGlobal(holder.actionGeometry(entry).center()))
            if entry is wanted or entry.menu() is None:
                return
            menu = entry.menu()
            yield menu.isVisible
            yield from pause(0.3)
            self.picture(f"menu_{menu.title().replace('&', '')}.png")
            holder = menu


def _leads_to(action, wanted):
    if action == wanted:
        return True
    menu = action.menu()
    return menu is not None and any(_leads_to(a, wanted) for a in menu.actions())


def pause(seconds):
    """Let that much time pass, the event loop turning."""
    until = time.monotonic() + seconds
    yield lambda: time.monotonic() >= until


def settled(document):
    """A condition: Krita has nothing left to compute for the document."""

    def check():
        if not document.tryBarrierLock():
            return False
        document.unlock()
        return True

    return check
