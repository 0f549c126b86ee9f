"""The plugin's job where a daemon answers as ours never does, which no real one can be made to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from PySide6 import QtCore
from tests.unit.plugin_qt import plugin_module

from maskgit_refine import events
from maskgit_refine.layers import Rect, Target


class Worker(QtCore.QObject):
    """Nobody at work: the test tells what happened itself."""

    happened = QtCore.Signal(object)

    def plan(self, *told: Any) -> None:
        pass


def test_a_result_without_pictures_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(SimpleNamespace(), SimpleNamespace(), None, Rect(0, 0, 1, 1), (1, 1))
    krita = SimpleNamespace(readSetting=lambda *told: told[-1], activeWindow=lambda: None)
    sentences: list[str] = []
    busy: list[bool] = []
    with plugin_module("refiner") as module:
        monkeypatch.setattr(module, "find_target", lambda application: target)
        worker = Worker()
        refiner = module.Refiner(krita, worker)
        refiner.said.connect(sentences.append)
        refiner.busy.connect(busy.append)
        refiner.start()
        worker.happened.emit(events.Finished(1, (), 0.5))
    assert busy == [True, False]
    assert sentences[-1] == "The daemon sent no picture back; nothing was changed."
