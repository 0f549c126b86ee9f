"""Who may come in: the CURVE keys allowed, and a log line for everyone who was turned away."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from maskgit_refine.channel import HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
from maskgit_refine.wire import MAX_BUFFER

LOG = logging.getLogger(__name__)

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"
DOMAIN = b"maskgit"
GOODBYE_MS = 500
REFUSALS: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "its key is not among those allowed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: (
        "it has another key for this daemon, is another program, or was tampered with on its way"
    ),
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "it broke the handshake off",
}


class Door:
    """Answers ZeroMQ's authentication requests (ZAP, RFC 27) from a table of keys.

    ``clients``: name → public key (Z85). It must exist before the socket it guards is bound.
    """

    def __init__(self, context: zmq.Context[Any], clients: Mapping[str, str]) -> None:
        self._context = context
        self._names = {z85.decode(key.encode()): name for name, key in clients.items()}
        self.zap: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.zap.linger = 0
        self.zap.bind(ZAP_ENDPOINT)
        self._monitor: zmq.Socket[bytes] | None = None

    def open_router(self, secret: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
        """A socket (not yet bound) that accepts these clients only, and its monitor."""
        router: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        router.linger = GOODBYE_MS
        # An answer to a client that is gone raises instead of vanishing.
        router.router_mandatory = True
        router.maxmsgsize = MAX_BUFFER + 1024
        router.rcvhwm = 64
        router.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        router.curve_server = True
        router.curve_secretkey = secret.encode()
        router.zap_domain = DOMAIN
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        self._monitor = router.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_FAILED_AUTH
            | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        return router, self._monitor

    def answer(self) -> None:
        """Answer one authentication request."""
        request = self.zap.recv_multipart()
        version, number, domain, address, _, mechanism = request[:6]
        credentials = request[6:]
        name = None
        if version == ZAP_VERSION and domain == DOMAIN and mechanism == b"CURVE" and credentials:
            name = self._names.get(credentials[0])
        if name is None:
            LOG.warning("Refused a client at %s: unknown key", address.decode("ascii", "replace"))
            self.zap.send_multipart([ZAP_VERSION, number, b"400", b"Unknown key", b"", b""])
        else:
            LOG.info("Let %s in from %s", name, address.decode("ascii", "replace"))
            self.zap.send_multipart([ZAP_VERSION, number, b"200", b"OK", name.encode(), b""])

    def note(self) -> None:
        """Log one refused handshake."""
        assert self._monitor is not None
        event = recv_monitor_message(self._monitor)
        reason = REFUSALS.get(event["event"], "of an unknown reason")
        LOG.warning("A handshake on %s failed: %s", event["endpoint"].decode(), reason)
