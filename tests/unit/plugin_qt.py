"""The plugin's modules outside Krita, on PySide's Qt, which knows PyQt's signals as ``Signal``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui

ON_QT = ("slices", "previews", "worker", "refiner")
"""The plugin's modules that import Qt."""


@contextmanager
def plugin_module(name: str) -> Iterator[Any]:
    """The plugin's module ``name``, imported on this Qt, with an event loop that may be turned."""
    application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    binding: Any = QtCore
    binding.pyqtSignal = QtCore.Signal
    qt: Any = ModuleType("maskgit_refine.qt")
    qt.QtCore, qt.QtGui = QtCore, QtGui
    sys.modules[qt.__name__] = qt
    try:
        yield importlib.import_module(f"maskgit_refine.{name}")
    finally:
        for other in ("qt", *ON_QT):
            sys.modules.pop(f"maskgit_refine.{other}", None)
        del application, binding.pyqtSignal


def turn_until(reached: Callable[[], bool], seconds: float = 5.0) -> None:
    """Run Qt's events until ``reached`` or ``seconds`` have passed."""
    end = monotonic() + seconds
    while not reached() and monotonic() < end:
        QtCore.QCoreApplication.processEvents()
