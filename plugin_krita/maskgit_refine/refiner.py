"""One refinement from trigger to new layer, on the GUI thread: the plugin's only state."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any, Optional, Tuple

from . import events
from .layers import PictureError, Rect, Target, add_layer, check_target, find_target, read_window
from .previews import Previews, to_image
from .qt import QtCore, QtGui
from .settings import Settings, read_settings
from .slices import run_in_slices
from .worker import Worker

MESSAGE_MS = 6000


class Job:
    """What is known of the job under way; ``adding`` once its layer is on its way in."""

    def __init__(self, number: int, target: Target, settings: Settings) -> None:
        self.number = number
        self.target = target
        self.settings = settings
        self.seed = settings.next_seed()
        self.window = Rect(0, 0, 0, 0)
        self.previews: Optional[Previews] = None
        self.text = ""
        self.sent = False
        self.adding = False
        self.started = time.perf_counter()


class Refiner(QtCore.QObject):
    """Runs one job at a time and tells how it goes by signals.

    ``said``: a sentence for the artist. ``busy``: whether a job runs. ``stepped``: (step, steps).
    ``previewed``: a :class:`QImage` of the patch so far.
    """

    said = QtCore.pyqtSignal(str)
    busy = QtCore.pyqtSignal(bool)
    stepped = QtCore.pyqtSignal(int, int)
    previewed = QtCore.pyqtSignal(QtGui.QImage)

    def __init__(self, application: Any, worker: Worker) -> None:
        super().__init__()
        self._application = application
        self._worker = worker
        self._job: Optional[Job] = None
        self._count = 0
        worker.happened.connect(self._on_event)

    def start(self) -> None:
        """Refine the selection of the active layer with the stored settings."""
        if self._job is not None:
            self._say("A refinement is running already; wait for it or press Cancel.")
            return
        try:
            target = find_target(self._application)
        except PictureError as error:
            self._say(str(error))
            return
        self._count += 1
        job = Job(self._count, target, read_settings(self._application))
        self._job = job
        self.busy.emit(True)
        self.said.emit("Asking the daemon …")
        settings = job.settings
        self._worker.plan(
            job.number, settings.bundle, target.bounds, target.canvas, settings.strength
        )

    def foresee(self) -> None:
        """Tell how much a job would change as things are; says nothing where none could run."""
        if self._job is not None:
            return
        try:
            target = find_target(self._application)
        except PictureError:
            return
        settings = read_settings(self._application)
        self._worker.foresee(settings.bundle, target.bounds, target.canvas, settings.strength)

    def cancel(self) -> None:
        """Give the running job up, if there is one and its layer is not on its way in."""
        job = self._job
        if job is None or job.adding:
            return
        if job.sent:
            self._worker.cancel(job.number)
        else:
            self._end("Cancelled; nothing was changed.")

    def _on_event(self, event: events.Event) -> None:
        job = self._job
        if isinstance(event, events.Foreseen):
            if job is None:
                self.said.emit(event.text)
        elif job is not None and event.job == job.number:
            self._attempt(job, event)

    def _attempt(self, job: Job, event: events.JobEvent) -> None:
        try:
            self._handle(job, event)
        except Exception as error:
            self._worker.cancel(job.number)
            self._fail(job, error)

    def _handle(self, job: Job, event: events.JobEvent) -> None:
        if isinstance(event, events.Noted):
            self.said.emit(event.sentence)
        elif isinstance(event, events.Planned):
            self._read(job, event)
        elif isinstance(event, events.Stepped):
            self._step(job, event)
        elif isinstance(event, events.Finished):
            self._add(job, event)
        elif isinstance(event, events.Cancelled):
            self._end("Cancelled; nothing was changed.")
        else:
            self._end(event.sentence, loud=True)

    def _read(self, job: Job, plan: events.Planned) -> None:
        job.window = plan.window
        left, top, width, height = job.target.bounds
        job.previews = Previews(Rect(left - plan.window.left, top - plan.window.top, width, height))
        job.text = plan.text
        self.said.emit(job.text)
        reading = read_window(self._application, job.target, plan.window)

        def send(window: Tuple[bytes, bytes]) -> None:
            if self._job is job:
                job.sent = True
                size = (plan.window.width, plan.window.height)
                self._worker.refine(job.number, job.settings, job.seed, size, *window)

        run_in_slices(reading, send, lambda error: self._fail(job, error))

    def _step(self, job: Job, event: events.Stepped) -> None:
        check_target(self._application, job.target)
        self.said.emit(job.text)
        self.stepped.emit(event.step, event.steps)
        if event.preview is not None and job.previews is not None:
            self.previewed.emit(job.previews.add(event.preview))

    def _add(self, job: Job, result: events.Finished) -> None:
        if job.adding:
            return
        if not result.pictures:
            self._end("The daemon sent no picture back; nothing was changed.", loud=True)
            return
        picture = result.pictures[0]
        if not picture.footprint:
            # Laid over themselves, translucent pixels would count twice.
            self._end("Strength 0 changes nothing.")
            return
        job.adding = True
        area = picture.area._replace(
            left=job.window.left + picture.area.left, top=job.window.top + picture.area.top
        )
        name = f"MaskGIT Refine (seed {job.seed})"
        document = job.target.document
        adding = add_layer(self._application, job.target, name, area, picture.pixels)

        def added(active: Any) -> None:
            # Krita makes a new layer active on the next turn of its event loop
            QtCore.QTimer.singleShot(0, lambda: self._keep_active(document, active))
            took = time.perf_counter() - job.started
            self.previewed.emit(to_image(picture))
            times = f"Done in {took:.2f} s, {result.seconds:.2f} s of it in the daemon"
            self._end(f"{times}; seed {job.seed}; {job.text}.")

        run_in_slices(adding, added, lambda error: self._fail(job, error))

    def _keep_active(self, document: Any, layer: Any) -> None:
        still_there = any(document == other for other in self._application.documents())
        if still_there and layer is not None and layer.parentNode() is not None:
            document.setActiveNode(layer)

    def _fail(self, job: Job, error: Exception) -> None:
        if not isinstance(error, PictureError):
            traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
            error = PictureError(f"The plugin met an error of its own ({error}); please report it.")
        if self._job is job:
            self._end(str(error), loud=True)

    def _end(self, sentence: str, loud: bool = False) -> None:
        self._job = None
        self.busy.emit(False)
        if loud:
            self._say(sentence)
        else:
            self.said.emit(sentence)

    def _say(self, sentence: str) -> None:
        """To the docker, and over the canvas (or in the status bar) in case it is closed."""
        self.said.emit(sentence)
        window = self._application.activeWindow()
        if window is None:
            return
        view = window.activeView()
        bar = window.qwindow().statusBar()
        if view is not None and view.document() is not None:
            bar.clearMessage()
            view.showFloatingMessage(sentence, QtGui.QIcon(), MESSAGE_MS, 1)
        else:
            bar.showMessage(sentence, MESSAGE_MS)
