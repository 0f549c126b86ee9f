"""The picture of the work in progress: each preview laid where it lies in the selection."""

from __future__ import annotations

from typing import Any

from .events import Picture
from .layers import Rect
from .qt import QtCore, QtGui

LONGEST = 512


class Previews:
    """The selection as it looks so far, shrunk to at most ``LONGEST`` pixels a side.

    ``area``: the selection's bounds in the window. A large selection is shown whole first and then
    piece by piece; a piece that was not seen yet is transparent.
    """

    def __init__(self, area: Rect) -> None:
        self._area = area
        self._scale = min(1.0, LONGEST / max(area.width, area.height))
        width, height = (max(1, round(n * self._scale)) for n in (area.width, area.height))
        premultiplied = QtGui.QImage.Format.Format_ARGB32_Premultiplied
        self._image = QtGui.QImage(width, height, premultiplied)
        self._image.fill(0)

    def add(self, picture: Picture) -> Any:
        """Lay a preview over what was there; the whole as a QImage."""
        area = QtCore.QRectF(
            (picture.area.left - self._area.left) * self._scale,
            (picture.area.top - self._area.top) * self._scale,
            picture.area.width * self._scale,
            picture.area.height * self._scale,
        )
        painter = QtGui.QPainter(self._image)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.setCompositionMode(QtGui.QPainter.CompositionMode.CompositionMode_Source)
        painter.drawImage(area, to_image(picture))
        painter.end()
        return self._image


def to_image(picture: Picture) -> Any:
    """A QImage that owns its bytes."""
    width, height = picture.area.width, picture.area.height
    rgba = QtGui.QImage.Format.Format_RGBA8888
    return QtGui.QImage(picture.pixels, width, height, 4 * width, rgba).copy()
