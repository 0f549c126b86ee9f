"""The scenarios: generators that yield None (one turn of the event loop) or a condition."""

import subprocess
import time
from pathlib import Path

from krita import InfoObject, Selection
from PyQt5.QtCore import QByteArray, QPoint
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import QApplication, QLabel, QPushButton

from . import probes

ACTION = "maskgit_refine_selection"


class Stage:
    """What the scenarios share: Krita, the folder for pictures, the report being written."""

    def __init__(self, application, folder, arguments):
        self.application = application
        self.folder = folder
        self.arguments = arguments
        self.report = {}

    def window(self):
        return self.application.activeWindow()

    def message(self):
        """The docker's status line."""
        return self.window().qwindow().findChild(QLabel, "maskgit_refine_status").text()

    def button(self, name):
        return self.window().qwindow().findChild(QPushButton, name)

    def busy(self):
        return self.button("maskgit_refine_cancel").isEnabled()

    def trigger(self):
        self.application.action(ACTION).trigger()

    def picture(self, name):
        probes.screenshot(self.folder / name)

    def set_seed(self, seed, steps=8):
        for key, value in (("seed", seed), ("random_seed", False), ("steps", steps)):
            self.application.writeSetting("maskgit_refine", key, str(value))

    def open_picture(self, path, name="picture"):
        """A new 8-bit document that shows the picture file, with a view."""
        image = QImage(str(path)).convertToFormat(QImage.Format_ARGB32)
        document = self.new_document(image.width(), image.height(), name=name)
        data = image.constBits().asstring(image.width() * image.height() * 4)
        layer = document.activeNode()
        layer.setPixelData(QByteArray(data), 0, 0, image.width(), image.height())
        document.refreshProjection()
        return document

    def new_document(self, width=320, height=240, model="RGBA", depth="U8", name="empty"):
        document = self.application.createDocument(width, height, name, model, depth, "", 120.0)
        self.window().addView(document)
        return document

    def select(self, document, left, top, width, height):
        selection = Selection()
        selection.select(left, top, width, height, 255)
        document.setSelection(selection)
        return selection


def messages(stage):
    """Everything that stands in the way of a job: each gets a sentence and changes nothing."""
    found = stage.report.setdefault("cases", {})

    def attempt(name, document):
        yield None
        before = probes.describe(document) if document else None
        stage.trigger()
        yield lambda: not stage.busy()
        yield None
        stage.picture(f"{name}.png")
        after = probes.describe(document) if document else None
        found[name] = {
            "message": stage.message(),
            "before": before,
            "after": after,
            "modified": document.modified() if document else False,
        }

    yield from attempt("no_document", None)

    document = stage.new_document()
    yield None
    document.setModified(False)
    yield from attempt("no_selection", document)

    stage.select(document, 400, 20, 50, 50)
    yield from attempt("selection_off_canvas", document)

    stage.select(document, 20, 20, 50, 50)
    group = document.createGroupLayer("Group")
    document.rootNode().addChildNode(group, None)
    yield None
    document.setActiveNode(group)
    document.waitForDone()
    document.setModified(False)
    yield lambda: document.activeNode().type() == "grouplayer"
    yield from attempt("group_layer", document)

    layer = next(n for n in document.topLevelNodes() if n.type() == "paintlayer")
    document.setActiveNode(layer)
    layer.setLocked(True)
    document.setModified(False)
    yield lambda: document.activeNode().type() == "paintlayer"
    yield from attempt("locked_layer", document)
    layer.setLocked(False)

    vector = document.createVectorLayer("Vector")
    document.rootNode().addChildNode(vector, None)
    yield None
    document.setActiveNode(vector)
    document.waitForDone()
    document.setModified(False)
    yield lambda: document.activeNode().type() == "vectorlayer"
    yield from attempt("vector_layer", document)

    for name, model, depth in (("sixteen_bit", "RGBA", "U16"), ("gray", "GRAYA", "U8")):
        other = stage.new_document(model=model, depth=depth, name=name)
        yield None
        stage.select(other, 20, 20, 50, 50)
        other.setModified(False)
        yield from attempt(name, other)


def nothing(stage):
    """Start and end: warms a fresh profile."""
    yield None
    stage.picture("start.png")
