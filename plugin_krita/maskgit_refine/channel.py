"""The encrypted channel between a client and the daemon: it never hangs, and says why it ended.

It belongs to the thread that uses it; only :meth:`Channel.post` may be called from any other.
"""

from __future__ import annotations

import contextlib
import math
import queue
import socket
import threading
import time
from collections import deque
from typing import Any, Deque, Dict, List, Mapping, Optional, Tuple

import zmq
from zmq.utils.monitor import recv_monitor_message

from .answers import refusal
from .connection import ClientError, Connection, NoDaemonError
from .kinds import REPLIES, REQUESTS
from .wire import Buffer, Message, WireError, decode, encode

SILENCE_SECONDS = 15.0
ONE_DAY_MS = 86_400_000
HEARTBEAT_MS = 1000
HEARTBEAT_TIMEOUT_MS = 10_000
SILENT = "The daemon does not answer any more; stop it with maskgit daemon --stop and try again."


class LostError(ClientError):
    """The daemon ended, or went silent, before it had answered."""


class Channel:
    """One connection to one running daemon, and what has come over it, by message id."""

    def __init__(self, connection: Connection, timeout: float) -> None:
        """Connect within ``timeout`` seconds; raises :class:`NoDaemonError` if none answers."""
        self.connection = connection
        self._ids = 0
        self._inbox: Dict[int, Deque[Message]] = {}
        self._lost = ""
        self._heard = time.monotonic()
        self._owner = threading.get_ident()
        self._outgoing: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._context = zmq.Context()
        try:
            self._socket, self._monitor = _connect(self._context, connection, timeout)
            self._poller = zmq.Poller()
            for source in (self._socket, self._monitor, self._wake_out):
                self._poller.register(source, zmq.POLLIN)
            self._shake_hands(timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the daemon."""
        self._context.destroy(linger=0)
        with self._lock:
            self._wake_in.close()
            self._wake_out.close()

    def send(self, name: str, fields: Mapping[str, Any], buffers: Tuple[Buffer, ...] = ()) -> int:
        """Send a message and return its id, to :meth:`wait` for and then :meth:`forget`.

        Raises :class:`~maskgit_refine.connection.ClientError` if it is not of the protocol.
        """
        message = self._message(name, fields, buffers)
        self._inbox[message.id] = deque()
        try:
            self._send(message)
        except ClientError:
            self.forget(message.id)
            raise
        return message.id

    def ask(self, name: str, fields: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """The fields of the answer; raises :class:`RefusedError` if that is a refusal."""
        number = self.send(name, fields)
        try:
            reply = self.wait(number, timeout)
        finally:
            self.forget(number)
        if reply.type == "error":
            raise refusal(reply)
        return reply.fields

    def post(self, name: str, fields: Mapping[str, Any]) -> None:
        """Send without waiting for the answer, from any thread; a closed client ignores it."""
        self._outgoing.put(self._message(name, fields))
        if threading.get_ident() == self._owner:
            self._flush()
            return
        with self._lock:
            if self._wake_in.fileno() >= 0:
                # Full means that enough wake-ups are on their way.
                with contextlib.suppress(BlockingIOError):
                    self._wake_in.send(b"!")

    def forget(self, message_id: int) -> None:
        """Drop what has come, and what will, for an id."""
        self._inbox.pop(message_id, None)

    def wait(self, message_id: int, timeout: Optional[float] = None) -> Message:
        """The next message for an id; without a timeout, while the daemon gives signs of life."""
        self._heard = time.monotonic()
        until = None if timeout is None else self._heard + timeout
        while not self._inbox[message_id]:
            if self._lost:
                raise LostError(self._lost)
            end = self._heard + SILENCE_SECONDS if until is None else until
            left = end - time.monotonic()
            if left <= 0:
                raise LostError(SILENT)
            self._pump(left)
        return self._inbox[message_id].popleft()

    def _message(
        self, name: str, fields: Mapping[str, Any], buffers: Tuple[Buffer, ...] = ()
    ) -> Message:
        with self._lock:
            self._ids += 1
            return Message(name, self._ids, self.connection.session, fields, buffers)

    def _flush(self) -> None:
        while not self._outgoing.empty() and not self._lost and not self._socket.closed:
            self._send(self._outgoing.get())

    def _send(self, message: Message) -> None:
        self._look()
        if self._lost:
            raise LostError(self._lost)
        try:
            frames = encode(message, REQUESTS)
        except (WireError, TypeError, ValueError) as error:
            raise ClientError(str(error)) from None
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT, copy=False)
        except zmq.Again:
            raise LostError(SILENT) from None

    def _pump(self, timeout: float) -> None:
        """Wait for anything to happen, then take in all that has."""
        self._flush()
        ready = dict(self._poller.poll(_milliseconds(timeout)))
        if self._wake_out.fileno() in ready:
            with contextlib.suppress(BlockingIOError):
                self._wake_out.recv(4096)
        self._flush()
        self._look()

    def _look(self) -> None:
        """Take in all that has happened, without waiting."""
        # The monitor is asked first and messages are read after it, so that an answer sent right
        # before the daemon ended is not lost.
        ended = self._ended()
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            self._take(frames)
        self._lost = self._lost or ended

    def _ended(self) -> str:
        """Why the connection has ended, or an empty text."""
        why = ""
        while self._monitor.poll(0):
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                # ZeroMQ says so of any message whose seal is broken, at any time.
                why = "What the daemon sent was changed on its way; nothing was changed, try again."
            elif event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED):
                why = why or _lost(self.connection)
        return why

    def _take(self, frames: List[bytes]) -> None:
        self._heard = time.monotonic()
        try:
            message = decode(frames, REPLIES)
        except WireError as error:
            self._lost = f"The daemon's answer is not understood: {error}"
            return
        if message.id in self._inbox:
            self._inbox[message.id].append(message)

    def _shake_hands(self, timeout: float) -> None:
        """Wait for the encrypted connection to stand; say which way it failed if it does not."""
        until = time.monotonic() + timeout
        endpoint = self.connection.endpoint
        while True:
            if not self._monitor.poll(_milliseconds(until - time.monotonic())):
                raise NoDaemonError(f"Nothing answers at {endpoint}; start the daemon anew.")
            event = recv_monitor_message(self._monitor)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                return
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                raise NoDaemonError(
                    f"The daemon at {endpoint} does not know this client's key; "
                    "read its connection file again, or start it with the key allowed."
                )
            if event in (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL):
                raise NoDaemonError(
                    f"What answers at {endpoint} is not the daemon of the connection file; "
                    "start the daemon anew."
                )
            if event in (zmq.EVENT_CLOSED, zmq.EVENT_DISCONNECTED):
                raise NoDaemonError(
                    f"The daemon of the connection file is gone from {endpoint}; start it anew."
                )


def _connect(
    context: zmq.Context[Any], connection: Connection, timeout: float
) -> Tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    dealer = context.socket(zmq.DEALER)
    milliseconds = int(timeout * 1000)
    dealer.setsockopt(zmq.LINGER, 0)
    # A new connection would be a stranger to the daemon: its jobs end with the old one.
    # Not "never" (-1): ZeroMQ would then drop what has arrived but is not read yet.
    dealer.setsockopt(zmq.RECONNECT_IVL, ONE_DAY_MS)
    dealer.setsockopt(zmq.CONNECT_TIMEOUT, milliseconds)
    dealer.setsockopt(zmq.HANDSHAKE_IVL, milliseconds)
    dealer.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    dealer.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    monitor = dealer.get_monitor_socket()
    try:
        dealer.setsockopt(zmq.CURVE_SERVERKEY, connection.server_key.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, connection.client_key.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, connection.client_secret.encode())
        dealer.connect(connection.endpoint)
    except (zmq.ZMQError, ValueError, TypeError):
        raise NoDaemonError("The connection file is damaged; start the daemon anew.") from None
    return dealer, monitor


def _milliseconds(seconds: float) -> int:
    return max(0, math.ceil(seconds * 1000))


def _lost(connection: Connection) -> str:
    return (
        f"The daemon (process {connection.pid}) ended before it had answered; "
        "nothing was changed, start it and try again."
    )
