"""The engine: one thread that owns the models and steps every job."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.bundle import MANIFEST, STARTER, Bundle, load_bundle
from maskgit_daemon.errors import BundleError, MaskgitError
from maskgit_daemon.events import Cancelled, Done, Event, Failed, Step
from maskgit_daemon.guidance import check_guidance, may_change
from maskgit_daemon.patch import Rect, WindowPlan, plan_window
from maskgit_daemon.refine import Pending, Work, evaluate, refine_steps
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model, load_model, pick_device

LOG = logging.getLogger(__name__)

MAX_BATCH = 8
Listener = Callable[[Event], None]
Room = Callable[[], bool]
"""Whether a preview made now would be sent."""


@dataclass(eq=False)
class Job:
    """A job the engine is working on; ``work`` is None until its first turn."""

    number: int
    request: RefineRequest
    listener: Listener
    room: Room = lambda: True
    model: Model | None = None
    work: Work | None = None
    pending: list[Pending] = field(default_factory=list)
    cancelled: bool = False
    began: float = 0.0
    in_runtime: float = 0.0


class Engine:
    """Loads models, runs jobs step by step, several in one forward pass where that is safe.

    ``device``: auto, cuda or cpu.  ``threads``: processors for ONNX Runtime (None: all).
    ``search``: folders that hold bundles, beside the starter.  Listeners are called from the
    engine's own thread and must return at once.
    """

    def __init__(
        self, device: str = "auto", threads: int | None = None, search: Iterable[Path] = ()
    ) -> None:
        self._wanted_device = device
        self._device: str | None = None
        self._threads = threads
        self._search = tuple(search)
        self._bundles: dict[str, Bundle] = {}
        self._models: dict[str, Model] = {}
        self._jobs: deque[Job] = deque()
        self._tasks: deque[Callable[[], None]] = deque()
        self._numbers = itertools.count(1)
        self._wake = threading.Condition()
        self._closing = False
        self._finished = 0
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: RefineRequest, listener: Listener, room: Room = lambda: True) -> int:
        """Queue a job and return its number; its events go to ``listener``.

        ``room`` is asked at every step, from the engine's thread, if the request wants previews:
        the decoder is not run for one that nobody would get.
        """
        with self._wake:
            job = Job(next(self._numbers), request, listener, room, cancelled=self._closing)
            self._jobs.append(job)
            self._wake.notify()
        return job.number

    def cancel(self, number: int) -> bool:
        """End a job before its next step; False if it is not running (any more)."""
        with self._wake:
            for job in self._jobs:
                if job.number == number:
                    job.cancelled = True
                    self._wake.notify()
                    return True
        return False

    def plan(
        self,
        bundle: str,
        bounds: tuple[int, int, int, int],
        canvas: tuple[int, int],
        strength: float = 1.0,
        guidance: str = "default",
        options: Mapping[str, float] | None = None,
    ) -> tuple[WindowPlan, int]:
        """The window for a selection's bounds, and how many tokens of its footprint may change.

        Nothing is read or loaded.  Raises :class:`RequestError` if the bundle cannot do it.
        """
        found = self.bundle(bundle)
        check_guidance(guidance, found, strength, options or {})
        plan = plan_window(Rect(*bounds), canvas, found)
        if plan.scale < 1.0 and guidance != "none":
            # Native tiles are made after the coarse pass, always by the default.
            guidance, options = "default", None
        return plan, may_change(guidance, strength, plan.footprint, options)

    def bundle(self, name: str) -> Bundle:
        """The checked bundle called ``name`` (a name or a folder); raises :class:`BundleError`."""
        with self._wake:
            if name in self._bundles:
                return self._bundles[name]
        folder = self._folders().get(name)
        if folder is None and (Path(name) / MANIFEST).is_file():
            folder = Path(name)
        if folder is None:
            known = ", ".join(sorted(self._folders()))
            raise BundleError(f"There is no model {name!r}; choose one of {known}, or fetch it.")
        loaded = load_bundle(folder)
        with self._wake:
            return self._bundles.setdefault(name, loaded)

    def models(self) -> list[dict[str, Any]]:
        """Every bundle found: name, folder, whether loaded, licence, or what is wrong with it."""
        listed = []
        for name in sorted(self._folders()):
            try:
                bundle = self.bundle(name)
            except BundleError as error:
                listed.append({"name": name, "loaded": False, "error": str(error)})
                continue
            listed.append(
                {
                    "name": name,
                    "loaded": name in self._models,
                    "family": bundle.family,
                    "stride": bundle.stride,
                    "grid_min": list(bundle.grid_min),
                    "grid_max": list(bundle.grid_max),
                    "condition": bundle.condition.kind,
                    "labels": list(bundle.condition.labels),
                    "licence": bundle.licence,
                    "digest": bundle.digest,
                }
            )
        return listed

    def load(self, name: str, done: Listener) -> None:
        """Load a model on the engine's thread; ``done`` gets :class:`Done` or :class:`Failed`."""
        self._later(lambda: self._model(name), done)

    def unload(self, name: str, done: Listener) -> None:
        """Drop a model (jobs that use it keep it to their end)."""

        def drop() -> None:
            self._models.pop(name, None)
            with self._wake:
                self._bundles.pop(name, None)

        self._later(drop, done)

    def status(self) -> dict[str, Any]:
        """Device, loaded models, jobs waiting and done."""
        with self._wake:
            jobs = len(self._jobs)
        return {
            "device": self._device or self._wanted_device,
            "loaded": sorted(self._models),
            "jobs": jobs,
            "finished": self._finished,
        }

    def close(self) -> None:
        """Cancel what runs, tell its listeners, and end the thread."""
        with self._wake:
            self._closing = True
            for job in self._jobs:
                job.cancelled = True
            self._wake.notify()
        self._thread.join()

    def _folders(self) -> dict[str, Path]:
        found = {"starter": STARTER} if (STARTER / MANIFEST).is_file() else {}
        for parent in self._search:
            for manifest in sorted(parent.glob(f"*/{MANIFEST}")):
                found.setdefault(manifest.parent.name, manifest.parent)
        return found

    def _later(self, action: Callable[[], Any], done: Listener) -> None:
        def task() -> None:
            try:
                action()
            except MaskgitError as error:
                done(Failed(str(error)))
            except Exception:
                LOG.exception("A task of the engine failed")
                done(Failed("The daemon met an unexpected error; its log file says more."))
            else:
                done(Done(()))

        with self._wake:
            self._tasks.append(task)
            self._wake.notify()

    def _model(self, name: str) -> Model:
        if name not in self._models:
            if self._device is None:
                self._device = pick_device(self._wanted_device)
            self._models[name] = load_model(self.bundle(name), self._device, threads=self._threads)
            LOG.info("Loaded %s on %s", name, self._device)
        return self._models[name]

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not (self._jobs or self._tasks or self._closing):
                    self._wake.wait()
                tasks = list(self._tasks)
                self._tasks.clear()
                jobs = list(self._jobs)
                if self._closing and not jobs:
                    return
            for task in tasks:
                task()
            for job in jobs:
                if job.cancelled:
                    self._end(job, Cancelled())
                elif job.work is None:
                    self._guarded(job, partial(self._begin, job))
            self._turn()

    def _turn(self) -> None:
        """One forward pass for the job that waited longest and those that can share it."""
        with self._wake:
            ready = [job for job in self._jobs if job.pending and not job.cancelled]
        if not ready:
            return
        first = ready[0]
        group = [first]
        if _batchable(first):
            group = [job for job in ready if _batchable(job) and _key(job) == _key(first)]
            group = group[:MAX_BATCH]
        self._guarded(first, lambda: self._forward(group))

    def _forward(self, group: list[Job]) -> None:
        model = group[0].model
        assert model is not None
        began = _runtime_seconds(model)
        # A dynamically quantised graph must not let one row change another.
        if _batchable(group[0]):
            logits = evaluate(model, [one for job in group for one in job.pending])
        else:
            logits = [evaluate(model, [one])[0] for job in group for one in job.pending]
        spent = _runtime_seconds(model) - began
        start = 0
        for job in group:
            job.in_runtime += spent
            part = logits[start : start + len(job.pending)]
            start += len(job.pending)
            self._guarded(job, partial(self._advance, job, part))
            with self._wake:
                # To the back of the queue: jobs that cannot share a pass take turns.
                if job in self._jobs:
                    self._jobs.remove(job)
                    self._jobs.append(job)

    def _begin(self, job: Job) -> None:
        job.began = time.perf_counter()
        job.model = self._model(job.request.bundle)
        job.work = refine_steps(job.model, job.request)
        self._advance(job, None)

    def _advance(self, job: Job, logits: list[NDArray[np.float32]] | None) -> None:
        assert job.work is not None
        assert job.model is not None
        began = _runtime_seconds(job.model)
        try:
            job.pending = next(job.work) if logits is None else job.work.send(logits)
        except StopIteration as stop:
            job.in_runtime += _runtime_seconds(job.model) - began
            seconds = time.perf_counter() - job.began
            info = {
                "seconds": round(seconds, 4),
                "runtime_seconds": round(job.in_runtime, 4),
                "device": job.model.device,
                "precision": job.model.precision,
                "bundle": job.model.bundle.digest,
            }
            self._end(job, Done(tuple(stop.value), info))
            return
        job.in_runtime += _runtime_seconds(job.model) - began
        first = job.pending[0]
        preview = first.preview() if job.request.preview and job.room() else None
        job.listener(Step(first.step, first.steps, preview))

    def _guarded(self, job: Job, action: Callable[[], None]) -> None:
        try:
            action()
        except MaskgitError as error:
            self._end(job, Failed(str(error)))
        except MemoryError:
            self._end(
                job, Failed("There is not enough memory for this job; select a smaller part.")
            )
        except Exception:
            LOG.exception("Job %d failed", job.number)
            self._end(job, Failed("The daemon met an unexpected error; its log file says more."))

    def _end(self, job: Job, event: Event) -> None:
        with self._wake:
            if job not in self._jobs:
                return
            self._jobs.remove(job)
            self._finished += 1
        if job.work is not None:
            job.work.close()
        job.listener(event)


def _key(job: Job) -> tuple[int, tuple[int, ...]]:
    return id(job.model), job.pending[0].ask.tokens.shape


def _batchable(job: Job) -> bool:
    return job.model is not None and job.model.rows_independent


def _runtime_seconds(model: Model) -> float:
    return sum(model.spent.values())
