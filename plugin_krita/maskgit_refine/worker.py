"""The thread that talks to the daemon, so that Krita's own thread never waits for it."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Tuple

from . import events, vendor
from .connection import ClientError
from .layers import Rect
from .qt import QtCore
from .settings import Settings

if TYPE_CHECKING:  # zmq is there only once vendor.load has run, on the worker's thread
    from .answers import Patch
    from .client import Client, Job

PLUGIN = Path(__file__).resolve().parent
WHEELS = PLUGIN / "wheels"
LIBRARY = PLUGIN.parent.parent / "maskgit_refine_library"
NO_JOB = 0
"""Jobs count from 1; who asks beside them hears of no failure."""


class Worker(QtCore.QObject):
    """Takes requests on the GUI thread and answers with ``happened`` (an event), in order.

    The thread and the connection start with the first request; the daemon too, if none runs.
    """

    happened = QtCore.pyqtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running: Optional[Job] = None
        self._cancelled = 0
        self._client: Optional[Client] = None
        self._thread: Optional[threading.Thread] = None

    def plan(
        self, job: int, bundle: str, bounds: Rect, canvas: Tuple[int, int], strength: float
    ) -> None:
        """Ask which window to read; answered by Planned or Failed."""
        self._post(job, lambda: self._plan(job, bundle, bounds, canvas, strength))

    def foresee(self, bundle: str, bounds: Rect, canvas: Tuple[int, int], strength: float) -> None:
        """Ask how much a job would change; answered by Foreseen, or not at all."""
        self._post(NO_JOB, lambda: self._foresee(bundle, bounds, canvas, strength))

    def refine(
        self,
        job: int,
        settings: Settings,
        seed: int,
        size: Tuple[int, int],
        pixels: bytes,
        selection: bytes,
    ) -> None:
        """Refine a window of ``size`` (width, height); answered by Stepped and an ending."""
        self._post(job, lambda: self._refine(job, settings, seed, size, pixels, selection))

    def cancel(self, job: int) -> None:
        """End a job that ``refine`` was asked for; returns at once."""
        with self._lock:
            self._cancelled = job
            if self._running is not None:
                self._running.cancel()

    def _post(self, job: int, action: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                action()
            except (ClientError, vendor.VendorError) as error:
                self._drop_client()
                self.happened.emit(events.Failed(job, str(error)))
            except Exception as error:
                self._drop_client()
                sentence = f"The plugin met an error of its own ({error!r}); please report it."
                self.happened.emit(events.Failed(job, sentence))

        self._requests.put(guarded)
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="maskgit", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while True:
            self._requests.get()()

    def _plan(
        self, job: int, bundle: str, bounds: Rect, canvas: Tuple[int, int], strength: float
    ) -> None:
        plan = self._connected(job, lambda client: client.plan(bundle, bounds, canvas, strength))
        self.happened.emit(events.Planned(job, Rect(*plan.window), plan.text()))

    def _foresee(self, bundle: str, bounds: Rect, canvas: Tuple[int, int], strength: float) -> None:
        if self._client is None:
            vendor.load(WHEELS, LIBRARY)
            from .client import connect
            from .connection import NoDaemonError

            try:
                self._client = connect()
            except NoDaemonError:
                # A daemon is started for a job, not for a glance.
                return
        plan = self._client.plan(bundle, bounds, canvas, strength)
        self.happened.emit(events.Foreseen(plan.text()))

    def _refine(
        self,
        job: int,
        settings: Settings,
        seed: int,
        size: Tuple[int, int],
        pixels: bytes,
        selection: bytes,
    ) -> None:
        from .answers import Cancelled, Result, Step
        from .client import LostError

        running = self._connected(
            job,
            lambda client: client.refine(
                pixels,
                selection,
                *size,
                bundle=settings.bundle,
                strength=settings.strength,
                steps=settings.steps,
                seed=seed,
                preview=settings.preview,
            ),
        )
        with self._lock:
            self._running = running
            if self._cancelled == job:
                running.cancel()
        try:
            for event in running:
                if isinstance(event, Step):
                    preview = None if event.preview is None else _picture(event.preview)
                    self.happened.emit(events.Stepped(job, event.step, event.steps, preview))
                elif isinstance(event, Result):
                    pictures = tuple(_picture(patch) for patch in event.patches)
                    seconds = float(event.info.get("seconds", 0.0))
                    self.happened.emit(events.Finished(job, pictures, seconds))
                elif isinstance(event, Cancelled):
                    self.happened.emit(events.Cancelled(job))
        except LostError as error:
            raise ClientError(
                "The daemon ended or fell silent in the middle of the job; nothing was changed, "
                "try again: it is started anew if need be."
            ) from error
        finally:
            with self._lock:
                self._running = None

    def _connected(self, job: int, ask: Callable[[Client], Any]) -> Any:
        """What ``ask`` returns, asked a second time on a new connection if the old one is dead."""
        if self._client is not None:
            from .client import LostError

            try:
                return ask(self._client)
            except LostError:
                self._drop_client()
        self._client = self._connect(job)
        return ask(self._client)

    def _connect(self, job: int) -> Client:
        vendor.load(WHEELS, LIBRARY)
        from .client import connect
        from .connection import NoDaemonError
        from .launch import start_daemon

        try:
            return connect()
        except NoDaemonError:
            self.happened.emit(events.Noted(job, "Starting the daemon …"))
            return start_daemon()

    def _drop_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _picture(patch: Patch) -> events.Picture:
    area = Rect(patch.left, patch.top, patch.width, patch.height)
    return events.Picture(area, bytes(patch.pixels), int(patch.info.get("footprint", 1)))
