"""What the server's tests need around it: an engine whose pace they set, and a wire tap.

The engine computes nothing, but it has real threads and obeys the engine's contract; the tests of
the whole daemon use the real one.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from maskgit_daemon.connection_file import new_keys
from maskgit_daemon.errors import BundleError
from maskgit_daemon.events import Cancelled, Done, Event, Failed, Patch, Step
from maskgit_daemon.patch import Rect, WindowPlan
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.server import Server
from maskgit_refine.client import Client
from maskgit_refine.connection import Connection

SESSION = "0123456789abcdef"
WIDTH, HEIGHT = 6, 4
PIXELS = bytes(range(WIDTH * HEIGHT * 4))
SELECTION = bytes([255]) * (WIDTH * HEIGHT)


class PacedEngine:
    """Inverts the window in ``request.steps`` steps; each waits for ``gate`` to be open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.finished = threading.Event()
        self.previews = 0
        self.cancelled: dict[int, threading.Event] = {}
        self.info: dict[str, Any] = {"seconds": 0.5}
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count(1)

    def submit(
        self,
        request: RefineRequest,
        listener: Callable[[Event], None],
        room: Callable[[], bool],
        /,
    ) -> int:
        number = next(self._numbers)
        self.cancelled[number] = threading.Event()
        thread = threading.Thread(target=self._run, args=(number, request, listener, room))
        self._threads.append(thread)
        thread.start()
        return number

    def cancel(self, number: int, /) -> bool:
        self.cancelled[number].set()
        return True

    def was_cancelled(self, number: int) -> bool:
        return number in self.cancelled and self.cancelled[number].is_set()

    def plan(
        self,
        bundle: str,
        bounds: tuple[int, int, int, int],
        canvas: tuple[int, int],
        strength: float,
        guidance: str,
        options: Mapping[str, float],
        /,
    ) -> tuple[WindowPlan, int]:
        self._known(bundle)
        return WindowPlan(Rect(*bounds), 1.0, (12, 16), 9), round(strength * 9)

    def models(self) -> list[dict[str, Any]]:
        return [{"name": "starter", "loaded": False}]

    def load(self, name: str, done: Callable[[Event], None], /) -> None:
        if name == "starter":
            done(Done(()))
        else:
            done(Failed(f"There is no model {name!r}."))

    unload = load

    def status(self) -> dict[str, Any]:
        return {"device": "cpu", "loaded": [], "jobs": 0}

    def close(self) -> None:
        self.gate.set()
        for thread in self._threads:
            thread.join()

    def _known(self, bundle: str) -> None:
        if bundle != "starter":
            raise BundleError(f"There is no model {bundle!r}.")

    def _run(
        self,
        number: int,
        request: RefineRequest,
        listener: Callable[[Event], None],
        room: Callable[[], bool],
    ) -> None:
        patch = Patch(3, 5, 255 - request.pixels, np.arange(6).reshape(2, 3), {"variant": 0})
        for step in range(request.steps):
            while not self.gate.wait(0.01) and not self.cancelled[number].is_set():
                pass
            if self.cancelled[number].is_set():
                listener(Cancelled())
                return
            shown = patch if request.preview and room() else None
            self.previews += shown is not None
            listener(Step(step, request.steps, shown))
        listener(Done((patch,) * request.variants, self.info))
        self.finished.set()


@contextmanager
def serving(engine: PacedEngine) -> Iterator[tuple[Server, Connection]]:
    """A live server with ``engine``, and the connection of its owner."""
    keys, owner = new_keys(), new_keys()
    server = Server(engine, keys, {"owner": owner.public}, SESSION)
    connection = Connection(
        server.endpoint, keys.public, owner.public, owner.secret, 1, SESSION, "0", "/bin/maskgit"
    )
    thread = threading.Thread(target=server.serve, name=server.endpoint)
    thread.start()
    try:
        yield server, connection
    finally:
        server.stop()
        thread.join()
        engine.close()
        server.close()


def refine(client: Client, **fields: Any) -> Any:
    return client.refine(PIXELS, SELECTION, WIDTH, HEIGHT, **fields)


def eventually(happens: Callable[[], bool]) -> bool:
    """Whether ``happens`` becomes true; gives up only after so long that it never will."""
    until = time.monotonic() + 20
    while not happens() and time.monotonic() < until:
        time.sleep(0.01)
    return happens()


class WireTap:
    """A TCP relay to ``endpoint`` that keeps every byte, can hold them back, and can change one."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition("//")[2].rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heard = bytearray()
        self.flow = threading.Event()
        self.flow.set()
        self.tamper = threading.Event()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = [self._listener]
        self._start(self._accept)

    def close(self) -> None:
        """End the relay and its connections."""
        self.flow.set()
        for one in self._sockets:
            _hang_up(one)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            self._start(self._pass, near, far)
            self._start(self._pass, far, near)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self.heard += data
                self.flow.wait()
                if self.tamper.is_set():
                    middle = len(data) // 2
                    data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
                target.sendall(data)
        except OSError:
            pass  # one end is gone; so is the other, below
        _hang_up(source)
        _hang_up(target)


def _hang_up(one: socket.socket) -> None:
    # It may not be connected (any more).
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
