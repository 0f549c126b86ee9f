"""A client of the daemon: what it can be asked, each failure a sentence.

A :class:`Client` belongs to the thread that uses it; only :meth:`Job.cancel` may be called from
any other, so that a window stays free while a worker thread waits for the job's events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

from .answers import (
    Accepted,
    Cancelled,
    Event,
    Patch,
    Plan,
    RefusedError,
    Result,
    Step,
    event,
    plan_of,
)
from .channel import Channel, LostError
from .connection import ClientError, Connection, NoDaemonError, read_connection
from .wire import Buffer

__all__ = [
    "Accepted",
    "Cancelled",
    "Client",
    "ClientError",
    "Event",
    "Job",
    "LostError",
    "NoDaemonError",
    "Patch",
    "Plan",
    "RefusedError",
    "Result",
    "Step",
    "connect",
]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
LOAD_SECONDS = 300.0
FINAL = ("result", "cancelled", "error")


class Job:
    """A running refinement: iterate it for its events, the last is Result or Cancelled.

    The iterator raises :class:`RefusedError` if the job fails and :class:`LostError` if the daemon
    does. Left early, it cancels the job.
    """

    def __init__(self, channel: Channel, job: int) -> None:
        self.id = job
        self._channel = channel

    def cancel(self) -> None:
        """Ask the daemon to drop the job; returns at once and may be called from any thread."""
        self._channel.post("cancel", {"job": self.id})

    def __iter__(self) -> Iterator[Event]:
        ended = False
        try:
            while not ended:
                message = self._channel.wait(self.id)
                ended = message.type in FINAL
                yield event(message)
        except LostError:
            ended = True
            raise
        finally:
            self._channel.forget(self.id)
            if not ended:
                self.cancel()


class Client:
    """A connection to one running daemon. Close it, or use it as a context manager."""

    def __init__(self, connection: Connection, timeout: float = CONNECT_SECONDS) -> None:
        """Connect and greet within ``timeout`` seconds.

        Raises :class:`NoDaemonError` if none answers, :class:`RefusedError` if it speaks another
        protocol.
        """
        self.connection = connection
        self._channel = Channel(connection, timeout)
        try:
            self.daemon: Dict[str, Any] = dict(self._channel.ask("hello", {}, timeout))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the daemon; jobs still running are cancelled there."""
        self._channel.close()

    def plan(
        self,
        bundle: str,
        bounds: Tuple[int, int, int, int],
        canvas: Tuple[int, int],
        strength: float = 1.0,
        guidance: str = "default",
        options: Optional[Mapping[str, float]] = None,
    ) -> Plan:
        """Which window to send for a selection's bounds (left, top, width, height).

        ``strength``, ``guidance`` and ``options`` as in :meth:`refine`: how much may change.
        """
        fields = {
            "bundle": bundle,
            "bounds": list(bounds),
            "canvas": list(canvas),
            "strength": strength,
            "guidance": guidance,
            "options": dict(options or {}),
        }
        return plan_of(self._channel.ask("plan", fields, LOAD_SECONDS)["plan"])

    def models(self) -> List[Dict[str, Any]]:
        """The bundles that the daemon can serve."""
        models: List[Dict[str, Any]] = self._channel.ask("models", {}, LOAD_SECONDS)["models"]
        return models

    def load(self, bundle: str) -> Dict[str, Any]:
        """Bring a bundle into memory before it is needed."""
        return dict(self._channel.ask("load", {"bundle": bundle}, LOAD_SECONDS))

    def unload(self, bundle: str) -> Dict[str, Any]:
        """Drop a bundle from memory."""
        return dict(self._channel.ask("unload", {"bundle": bundle}, LOAD_SECONDS))

    def status(self) -> Dict[str, Any]:
        """What the daemon is and does; answered at once, also during a job."""
        status: Dict[str, Any] = self._channel.ask("status", {}, ANSWER_SECONDS)["status"]
        return status

    def shutdown(self) -> None:
        """Ask the daemon to end; it has agreed when this returns."""
        self._channel.ask("shutdown", {}, ANSWER_SECONDS)

    def refine(
        self,
        pixels: Any,
        selection: Any,
        width: int,
        height: int,
        dtype: str = "uint8",
        **fields: Any,
    ) -> Job:
        """Start a job and return it at once.

        ``pixels``: bytes-like rows of width × height RGBA, sRGB, as ``dtype``; ``selection``:
        width × height bytes. ``fields``: those of the request, by the names in the protocol.
        Raises :class:`~maskgit_refine.connection.ClientError` if they are not of the protocol.
        """
        buffers = (
            Buffer("pixels", dtype, (height, width, 4), pixels),
            Buffer("selection", "uint8", (height, width), selection),
        )
        return Job(self._channel, self._channel.send("refine", fields, buffers))


def connect(folder: Optional[Path] = None, timeout: float = CONNECT_SECONDS) -> Client:
    """A client of the user's running daemon, or :class:`NoDaemonError`."""
    return Client(read_connection(folder), timeout)
