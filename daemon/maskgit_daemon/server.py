"""The server: what each message of a client does, and who waits for what.

One thread runs :meth:`Server.serve` and never computes. What takes time happens in the engine's
thread or in one of two small pools; their answers come back by the post.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from maskgit_daemon.connection_file import KeyPair
from maskgit_daemon.events import Cancelled, Done, Event, Failed, Step
from maskgit_daemon.messages import patch_fields, plan_fields, refusal_of, request_of
from maskgit_daemon.patch import WindowPlan
from maskgit_daemon.post import LOOPBACK, Post
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.version import VERSION
from maskgit_refine.wire import MAX_WINDOW_PIXELS, PROTOCOL, Message

LOG = logging.getLogger(__name__)

MAX_JOBS = 64


class EngineLike(Protocol):
    """What the server needs of :class:`maskgit_daemon.engine.Engine`."""

    def submit(
        self,
        request: RefineRequest,
        listener: Callable[[Event], None],
        room: Callable[[], bool],
        /,
    ) -> int: ...
    def cancel(self, number: int, /) -> bool: ...
    def plan(
        self,
        bundle: str,
        bounds: tuple[int, int, int, int],
        canvas: tuple[int, int],
        strength: float,
        guidance: str,
        options: Mapping[str, float],
        /,
    ) -> tuple[WindowPlan, int]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def load(self, name: str, done: Callable[[Event], None], /) -> None: ...
    def unload(self, name: str, done: Callable[[Event], None], /) -> None: ...
    def status(self) -> dict[str, Any]: ...


Key = tuple[bytes, int]


@dataclass
class Job:
    """A client's job.

    ``number``: the engine's, once it has one. ``preview``: the last one sent; ``made``: the engine
    has made another since.
    """

    number: int | None = None
    cancelled: bool = False
    preview: zmq.MessageTracker | None = None
    made: bool = False

    def has_room(self) -> bool:
        """Whether the last preview has left for the client; any thread may ask."""
        return not self.made and (self.preview is None or self.preview.done)


class Server:
    """Serves ``engine`` to the ``clients`` (name → public key) on ``endpoint``.

    Bound when made: :attr:`endpoint` then names the port. Run :meth:`serve` in one thread;
    :meth:`stop` may be called from any, and from a signal handler.
    """

    def __init__(
        self,
        engine: EngineLike,
        keys: KeyPair,
        clients: Mapping[str, str],
        session: str,
        endpoint: str = LOOPBACK,
    ) -> None:
        self._engine = engine
        self._jobs: dict[Key, Job] = {}
        self._began = time.monotonic()
        self._post = Post(self, keys, clients, session, endpoint)
        self.endpoint = self._post.endpoint
        self._intake = ThreadPoolExecutor(1, "intake")
        self._desk = ThreadPoolExecutor(2, "desk")
        self._handlers: dict[str, Callable[[bytes, Message], None]] = {
            "hello": self._hello,
            "plan": self._plan,
            "models": self._models,
            "load": self._load,
            "unload": self._unload,
            "refine": self._refine,
            "cancel": self._cancel,
            "status": self._status,
            "shutdown": self._shutdown,
        }

    def serve(self) -> None:
        """Serve until :meth:`stop` or a client's ``shutdown``; clients with jobs are told."""
        self._post.serve()
        sentence = "The daemon was stopped before the job was done; start it and try again."
        for client, message_id in list(self._jobs):
            self._post.error(client, message_id, "stopped", sentence)

    def stop(self) -> None:
        """Make :meth:`serve` return soon."""
        self._post.stop()

    def close(self) -> None:
        """Close the socket; call it once the engine is closed, so that no answer comes late."""
        self._intake.shutdown(cancel_futures=True)
        self._desk.shutdown(cancel_futures=True)
        self._post.close()

    # What the post calls -----------------------------------------------------------------------

    def take(self, client: bytes, message: Message) -> None:
        """Serve a client's message."""
        self._handlers[message.type](client, message)

    def beat(self) -> None:
        """Send a sign of life to whoever waits for a job; who is gone is found out by it."""
        for client in {client for client, _ in self._jobs}:
            self._post.reply(client, 0, "alive")

    def lose(self, client: bytes, why: str) -> None:
        """Cancel the jobs of a client that can be told nothing any more."""
        lost = [key for key in self._jobs if key[0] == client]
        if lost:
            LOG.warning("A client %s; its %d jobs are cancelled", why, len(lost))
        for key in lost:
            job = self._jobs.pop(key)
            job.cancelled = True
            if job.number is not None:
                self._engine.cancel(job.number)

    # One method a message type -----------------------------------------------------------------

    def _hello(self, client: bytes, message: Message) -> None:
        self._post.reply(
            client,
            message.id,
            "hello",
            version=VERSION,
            pid=os.getpid(),
            max_window_pixels=MAX_WINDOW_PIXELS,
        )

    def _plan(self, client: bytes, message: Message) -> None:
        told = {"guidance": "default", "options": {}, **message.fields}
        names = ("bundle", "bounds", "canvas", "strength", "guidance", "options")
        self._later(
            client, message, lambda: plan_fields(*self._engine.plan(*(told[n] for n in names)))
        )

    def _models(self, client: bytes, message: Message) -> None:
        self._later(client, message, lambda: {"models": self._engine.models()})

    def _load(self, client: bytes, message: Message) -> None:
        self._engine.load(message.fields["bundle"], self._on_loaded(client, message))

    def _unload(self, client: bytes, message: Message) -> None:
        self._engine.unload(message.fields["bundle"], self._on_loaded(client, message))

    def _status(self, client: bytes, message: Message) -> None:
        status = {
            **self._engine.status(),
            "version": VERSION,
            "protocol": PROTOCOL,
            "pid": os.getpid(),
            "endpoint": self.endpoint,
            "seconds": round(time.monotonic() - self._began, 1),
        }
        self._post.reply(client, message.id, "status", status=status)

    def _shutdown(self, client: bytes, message: Message) -> None:
        LOG.info("A client asked the daemon to end")
        self._post.reply(client, message.id, "shutdown")
        self._post.stop()

    def _cancel(self, client: bytes, message: Message) -> None:
        job = self._jobs.get((client, message.fields["job"]))
        if job is not None:
            job.cancelled = True
            if job.number is not None:
                self._engine.cancel(job.number)
        self._post.reply(client, message.id, "cancel", found=job is not None)

    def _refine(self, client: bytes, message: Message) -> None:
        key = (client, message.id)
        if key in self._jobs:
            sentence = f"The id {message.id} is that of a running job; count on."
            self._post.error(client, 0, "protocol", sentence)
            return
        if len(self._jobs) >= MAX_JOBS:
            sentence = f"The daemon has {MAX_JOBS} jobs already; wait for one to end."
            self._post.error(client, message.id, "busy", sentence)
            return
        job = self._jobs[key] = Job()

        def listen(event: Event) -> None:
            if isinstance(event, Step) and event.preview is not None:
                job.made = True
            self._post.call(lambda: self._on_event(key, event))

        def take_in() -> None:
            try:
                request = request_of(message)
                # Said before the engine has the job: its first event may come at once.
                self._post.call(lambda: self._post.reply(client, message.id, "accepted"))
                number = self._engine.submit(request, listen, job.has_room)
            except Exception as error:
                refused = refusal_of(error)
                self._post.call(lambda: self._refuse(key, *refused))
                return
            self._post.call(lambda: self._on_number(job, number))

        self._intake.submit(take_in)

    # Answers that come from elsewhere ----------------------------------------------------------

    def _later(self, client: bytes, message: Message, work: Callable[[], dict[str, Any]]) -> None:
        def run() -> None:
            try:
                fields = work()
            except Exception as error:
                kind, sentence = refusal_of(error)
                self._post.call(lambda: self._post.error(client, message.id, kind, sentence))
                return
            self._post.call(lambda: self._post.reply(client, message.id, message.type, **fields))

        self._desk.submit(run)

    def _on_loaded(self, client: bytes, message: Message) -> Callable[[Event], None]:
        def tell(event: Event) -> None:
            if isinstance(event, Failed):
                self._post.error(client, message.id, "bundle", event.message)
            else:
                self._post.reply(client, message.id, message.type, bundle=message.fields["bundle"])

        return lambda event: self._post.call(lambda: tell(event))

    def _on_number(self, job: Job, number: int) -> None:
        job.number = number
        if job.cancelled:
            self._engine.cancel(number)

    def _refuse(self, key: Key, kind: str, sentence: str) -> None:
        if self._jobs.pop(key, None) is not None:
            self._post.error(*key, kind, sentence)

    def _on_event(self, key: Key, event: Event) -> None:
        job = self._jobs.get(key)
        if job is None:
            return
        if isinstance(event, Step):
            self._send_step(key, job, event)
            return
        del self._jobs[key]
        if isinstance(event, Done):
            patches, buffers = patch_fields(event.patches)
            fields = {"patches": patches, "info": event.info}
            self._post.send(key[0], Message("result", key[1], self._post.session, fields, buffers))
        elif isinstance(event, Cancelled):
            self._post.reply(*key, "cancelled")
        else:
            self._post.error(*key, "job", event.message)

    def _send_step(self, key: Key, job: Job, event: Step) -> None:
        shown = () if event.preview is None else (event.preview,)
        patches, buffers = patch_fields(shown)
        fields = {"step": event.step, "steps": event.steps, "patches": patches}
        sent = self._post.send(key[0], Message("step", key[1], self._post.session, fields, buffers))
        if shown:
            job.preview = sent
            job.made = False
