"""The action in Krita's menu Tools ▸ Scripts."""

from __future__ import annotations

from typing import Any

from krita import Extension

from .refiner import Refiner

ACTION = "maskgit_refine_selection"
TEXT = "MaskGIT Refine Selection"


class RefineExtension(Extension):
    """Adds the action to every window; one :class:`Refiner` serves them all."""

    def __init__(self, parent: Any, refiner: Refiner) -> None:
        super().__init__(parent)
        self.refiner = refiner

    def setup(self) -> None:
        """Krita calls this once, when it has started."""

    def createActions(self, window: Any) -> None:  # noqa: N802 (Krita calls it so)
        """Krita calls this for every window."""
        action = window.createAction(ACTION, TEXT, "tools/scripts")
        action.triggered.connect(lambda *_: self.refiner.start())
