"""The Qt binding that Krita itself runs on: PyQt5 up to Krita 5, PyQt6 from Krita 6."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PyQt5 import QtCore, QtGui, QtWidgets
elif "PyQt6.QtCore" in sys.modules:  # Krita has imported its own before any plugin
    from PyQt6 import QtCore, QtGui, QtWidgets
else:
    try:
        from PyQt5 import QtCore, QtGui, QtWidgets
    except ImportError:
        from PyQt6 import QtCore, QtGui, QtWidgets

__all__ = ["QtCore", "QtGui", "QtWidgets"]
