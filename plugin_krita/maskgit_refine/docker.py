"""The docker: what may change, how many steps, which seed; how the job goes."""

from __future__ import annotations

from typing import Any

from krita import DockWidget

from .qt import QtCore, QtGui, QtWidgets
from .refiner import Refiner
from .settings import MAX_SEED, MAX_STEPS, Settings, read_settings, write_settings

PREVIEW_SIZE = 128
FORESEE_MS = 200
"""How long the strength must rest before the daemon is asked what it would do."""
HINT = "Select a part of a paint layer, then press Refine."


class Docker(DockWidget):
    """A thin face of the :class:`Refiner`; every change of a control is stored at once."""

    def __init__(self, application: Any, refiner: Refiner) -> None:
        super().__init__()
        self._application = application
        self._refiner = refiner
        self.setWindowTitle("MaskGIT Refine")
        self._build(read_settings(application))
        refiner.said.connect(self._status.setText)
        refiner.busy.connect(self._on_busy)
        refiner.stepped.connect(self._on_step)
        refiner.previewed.connect(self._on_preview)

    def canvasChanged(self, canvas: Any) -> None:  # noqa: N802 (Krita calls it so)
        """Nothing here depends on the canvas; Krita demands the method."""

    def _build(self, settings: Settings) -> None:
        self._strength = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._strength.setObjectName("maskgit_refine_strength")
        self._strength.setRange(0, 100)
        self._strength.setValue(round(settings.strength * 100))
        self._percent = QtWidgets.QLabel()
        self._steps = QtWidgets.QSpinBox()
        self._steps.setRange(1, MAX_STEPS)
        self._steps.setValue(settings.steps)
        self._seed = QtWidgets.QSpinBox()
        self._seed.setRange(0, MAX_SEED)
        self._seed.setValue(settings.seed)
        self._random = QtWidgets.QCheckBox("random")
        self._random.setChecked(settings.random_seed)
        self._previews = QtWidgets.QCheckBox("show each step (slower)")
        self._previews.setChecked(settings.preview)
        self._bundle = settings.bundle

        self._refine = QtWidgets.QPushButton("Refine")
        self._refine.setObjectName("maskgit_refine_start")
        self._cancel = QtWidgets.QPushButton("Cancel")
        self._cancel.setObjectName("maskgit_refine_cancel")
        self._cancel.setEnabled(False)
        self._progress = QtWidgets.QProgressBar()
        self._progress.setTextVisible(False)
        self._preview = QtWidgets.QLabel()
        self._preview.setObjectName("maskgit_refine_preview")
        self._preview.setAlignment(QtCore.Qt.AlignmentFlag.AlignCenter)
        # Takes what room is left: asking for its own would make Krita's window grow
        policy = QtWidgets.QSizePolicy.Policy
        self._preview.setSizePolicy(policy.Ignored, policy.Ignored)
        self._status = QtWidgets.QLabel(HINT)
        self._status.setObjectName("maskgit_refine_status")
        self._status.setWordWrap(True)

        strength = _row(self._strength, self._percent)
        form = QtWidgets.QFormLayout()
        form.addRow("Strength", strength)
        form.addRow("Steps", self._steps)
        form.addRow("", self._previews)
        form.addRow("Seed", _row(self._seed, self._random))
        column = QtWidgets.QVBoxLayout()
        column.addLayout(form)
        column.addLayout(_row(self._refine, self._cancel))
        column.addWidget(self._progress)
        column.addWidget(self._status)
        column.addWidget(self._preview, 1)
        body = QtWidgets.QWidget()
        body.setLayout(column)
        self.setWidget(body)

        self._foresee = QtCore.QTimer(self)
        self._foresee.setSingleShot(True)
        self._foresee.setInterval(FORESEE_MS)
        self._foresee.timeout.connect(self._refiner.foresee)
        self._strength.valueChanged.connect(self._store)
        self._strength.valueChanged.connect(lambda _: self._foresee.start())
        self._steps.valueChanged.connect(self._store)
        self._seed.valueChanged.connect(self._store)
        self._random.toggled.connect(self._store)
        self._previews.toggled.connect(self._store)
        self._refine.clicked.connect(self._refiner.start)
        self._cancel.clicked.connect(self._refiner.cancel)
        self._show(settings)

    def _store(self) -> None:
        settings = Settings(
            strength=self._strength.value() / 100,
            steps=self._steps.value(),
            seed=self._seed.value(),
            random_seed=self._random.isChecked(),
            preview=self._previews.isChecked(),
            bundle=self._bundle,
        )
        self._show(settings)
        write_settings(self._application, settings)

    def _show(self, settings: Settings) -> None:
        self._percent.setText(f"{round(settings.strength * 100)} %")
        self._seed.setEnabled(not settings.random_seed)

    def _on_busy(self, busy: bool) -> None:
        self._refine.setEnabled(not busy)
        self._cancel.setEnabled(busy)
        self._progress.setRange(0, 0 if busy else 1)
        self._progress.reset()
        if busy:
            self._preview.clear()

    def _on_step(self, step: int, steps: int) -> None:
        self._progress.setRange(0, steps)
        self._progress.setValue(step)

    def _on_preview(self, image: Any) -> None:
        keep = QtCore.Qt.AspectRatioMode.KeepAspectRatio
        smooth = QtCore.Qt.TransformationMode.SmoothTransformation
        room = self._preview.size().boundedTo(QtCore.QSize(PREVIEW_SIZE, PREVIEW_SIZE))
        small = image.scaled(room, keep, smooth)
        self._preview.setPixmap(QtGui.QPixmap.fromImage(small))


def _row(*widgets: Any) -> Any:
    row = QtWidgets.QHBoxLayout()
    for widget in widgets:
        row.addWidget(widget)
    return row
