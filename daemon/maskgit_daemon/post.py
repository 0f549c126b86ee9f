"""The post: the thread that owns the socket, and how the others hand it their answers."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import zmq

from maskgit_daemon.connection_file import KeyPair
from maskgit_daemon.door import GOODBYE_MS, Door
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.messages import UNEXPECTED
from maskgit_refine.kinds import MAX_TEXT, REPLIES, REQUESTS
from maskgit_refine.wire import Message, WireError, decode, encode

LOG = logging.getLogger(__name__)

LOOPBACK = "tcp://127.0.0.1:*"
ALIVE_MS = 1000


class Office(Protocol):
    """Whom the post serves; called from its thread."""

    def take(self, client: bytes, message: Message, /) -> None:
        """A message has come."""

    def lose(self, client: bytes, why: str, /) -> None:
        """A client can be told nothing any more."""

    def beat(self) -> None:
        """``ALIVE_MS`` have passed."""


class Post:
    """Binds ``endpoint`` for ``clients`` (name → public key) when made; serves an ``office``.

    :meth:`serve` runs in one thread; :meth:`call` and :meth:`stop` may be called from any, and
    :meth:`stop` from a signal handler.
    """

    def __init__(
        self,
        office: Office,
        keys: KeyPair,
        clients: Mapping[str, str],
        session: str,
        endpoint: str = LOOPBACK,
    ) -> None:
        self._office = office
        self.session = session
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stopping = False
        self._beaten = time.monotonic()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._context = zmq.Context()
        self._door = Door(self._context, clients)
        self._router, self._monitor = self._door.open_router(keys.secret)
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise MaskgitError(
                f"The daemon cannot listen at {endpoint} ({error.strerror}); choose another."
            ) from None
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def serve(self) -> None:
        """Take messages in and run calls until :meth:`stop`."""
        poller = zmq.Poller()
        for source in (self._router, self._door.zap, self._monitor, self._wake_out):
            poller.register(source, zmq.POLLIN)
        while not self._stopping:
            ready = dict(poller.poll(ALIVE_MS))
            if self._door.zap in ready:
                self._door.answer()
            if self._monitor in ready:
                self._door.note()
            if self._wake_out.fileno() in ready:
                with contextlib.suppress(BlockingIOError):
                    self._wake_out.recv(4096)
            while not self._calls.empty():
                self._guarded(self._calls.get())
            if self._router in ready:
                self._receive()
            self._beat()

    def stop(self) -> None:
        """Make :meth:`serve` return soon."""
        self._stopping = True
        self._wake()

    def close(self) -> None:
        """Close the socket; what was said last has ``GOODBYE_MS`` to leave."""
        self._context.destroy(linger=GOODBYE_MS)
        self._wake_in.close()
        self._wake_out.close()

    def call(self, call: Callable[[], None]) -> None:
        """Have the socket's thread run ``call``; from any thread."""
        self._calls.put(call)
        self._wake()

    def reply(self, client: bytes, message_id: int, name: str, **fields: Any) -> None:
        """Answer message ``message_id`` of a client with a message of type ``name``."""
        self.send(client, Message(name, message_id, self.session, fields))

    def error(self, client: bytes, message_id: int, kind: str, sentence: str) -> None:
        """Answer with a refusal: ``kind`` for programs, ``sentence`` for the user."""
        sentence = sentence[:MAX_TEXT]
        self.reply(client, message_id, "error", kind=kind, message=sentence)

    def send(self, client: bytes, message: Message) -> zmq.MessageTracker | None:
        """Send without waiting; a tracker of the last buffer, if there is one."""
        try:
            frames: list[Any] = encode(message, REPLIES)
        except WireError:
            LOG.exception("A %s message is not of the protocol", message.type)
            self.error(client, message.id, "internal", UNEXPECTED)
            return None
        tracker = None
        if message.buffers:
            last = zmq.Frame(frames[-1], track=True, copy=False, copy_threshold=0)
            frames[-1] = last
            tracker = last.tracker
        try:
            self._router.send_multipart([client, *frames], zmq.DONTWAIT, copy=False)
        except zmq.Again:
            if message.type not in ("step", "alive"):
                self._office.lose(client, "does not read its answers")
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._office.lose(client, "is gone")
        return tracker

    def _wake(self) -> None:
        # A full pipe means that the wake-up is on its way.
        with contextlib.suppress(BlockingIOError):
            self._wake_in.send(b"!")

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            LOG.exception("An answer could not be sent")

    def _receive(self) -> None:
        try:
            client, *frames = self._router.recv_multipart(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return
        identity = client.bytes
        try:
            message = decode([frame.buffer for frame in frames], REQUESTS)
        except WireError as error:
            LOG.warning("Refused a message: %s", error)
            self.error(identity, error.id, "protocol", str(error))
            return
        if message.session not in ("", self.session):
            sentence = "The daemon was started anew since; connect to it again."
            self.error(identity, message.id, "session", sentence)
            return
        try:
            self._office.take(identity, message)
        except Exception:
            LOG.exception("A %s message could not be served", message.type)
            self.error(identity, message.id, "internal", UNEXPECTED)

    def _beat(self) -> None:
        now = time.monotonic()
        if (now - self._beaten) * 1000 >= ALIVE_MS:
            self._beaten = now
            self._office.beat()
