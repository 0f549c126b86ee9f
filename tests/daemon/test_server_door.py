"""Who may come in, and what an ear or a hand on the wire gets."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from tests.daemon.doubles import SESSION, PacedEngine, WireTap, eventually, refine

from maskgit_daemon.connection_file import new_keys
from maskgit_refine.client import Accepted, Client, LostError, NoDaemonError, Result, Step
from maskgit_refine.connection import Connection


def test_a_client_without_the_keys_is_refused_told_and_logged(
    connection: Connection, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = new_keys()
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(NoDaemonError, match="does not know this client's key"),
    ):
        Client(connection._replace(client_key=stranger.public, client_secret=stranger.secret))
    assert eventually(lambda: "Refused a client at 127.0.0.1: unknown key" in caplog.text)
    assert client.status()["device"] == "cpu"


def test_a_client_with_another_daemons_key_is_told(
    connection: Connection, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(NoDaemonError, match="not the daemon of the connection file"),
    ):
        Client(connection._replace(server_key=new_keys().public))
    assert eventually(lambda: "A handshake on" in caplog.text)
    assert client.status()["device"] == "cpu"


def test_a_client_without_encryption_gets_no_word(connection: Connection, client: Client) -> None:
    context: zmq.Context[Any] = zmq.Context()
    plain = context.socket(zmq.DEALER)
    monitor = plain.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    plain.connect(connection.endpoint)
    plain.send(b'{"protocol":1,"id":1,"session":"","type":"status"}')
    assert monitor.poll(20_000)
    assert not plain.poll(0)
    context.destroy(linger=0)
    assert client.status()["device"] == "cpu"


def test_noise_on_the_port_is_survived(connection: Connection, client: Client) -> None:
    port = int(connection.endpoint.rpartition(":")[2])
    for noise in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(4096), b"\xff" + bytes(8) + b"\x7f" * 99):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(noise)
    assert isinstance(list(refine(client, steps=1))[-1], Result)


def test_nobody_at_the_port_is_told(connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    with pytest.raises(NoDaemonError, match="is gone from"):
        Client(connection._replace(endpoint=f"tcp://127.0.0.1:{port}"))


def test_another_program_at_the_port_is_told(connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(NoDaemonError, match="answers at"):
            Client(connection._replace(endpoint=f"tcp://127.0.0.1:{port}"), timeout=0.3)


@pytest.mark.parametrize(
    "damage", [{"endpoint": "nowhere"}, {"server_key": "short"}, {"client_key": "é" * 40}]
)
def test_a_damaged_connection_is_told(connection: Connection, damage: dict[str, str]) -> None:
    with pytest.raises(NoDaemonError, match="connection file is damaged"):
        Client(connection._replace(**damage))


# What an ear or a hand on the wire gets


@pytest.fixture
def tap(connection: Connection) -> Iterator[WireTap]:
    tap = WireTap(connection.endpoint)
    yield tap
    tap.close()


def test_nothing_can_be_read_on_the_wire(connection: Connection, tap: WireTap) -> None:
    secret = b"a picture that is nobody's business. " * 400
    window = secret[: 60 * 60 * 4]
    with Client(connection._replace(endpoint=tap.endpoint)) as client:
        job = client.refine(window, bytes([255]) * 3600, 60, 60, steps=1, prompt="sphinx")
        result = list(job)[-1]
    assert isinstance(result, Result)
    heard = bytes(tap.heard)
    assert len(heard) > 2 * len(window)
    assert b"CURVE" in heard
    inverted = bytes(255 - b for b in window[:20])
    for plain in (window[:20], inverted, b"refine", b"pixels", b"sphinx", SESSION.encode()):
        assert plain not in heard


def test_a_changed_byte_ends_the_connection_and_nothing_else(
    engine: PacedEngine, connection: Connection, client: Client, tap: WireTap
) -> None:
    engine.gate.clear()
    with Client(connection._replace(endpoint=tap.endpoint)) as tampered:
        job = iter(refine(tampered))
        assert next(job) == Accepted()
        tap.tamper.set()
        with pytest.raises(LostError, match="changed on its way"):
            list(job)
    engine.gate.set()
    assert isinstance(list(refine(client))[-1], Result)


def test_a_slow_client_is_spared_previews_but_no_step(
    engine: PacedEngine, connection: Connection, tap: WireTap
) -> None:
    side = 1000
    with Client(connection._replace(endpoint=tap.endpoint)) as client:
        window, selection = bytes(side * side * 4), bytes([255]) * (side * side)
        job = iter(client.refine(window, selection, side, side, steps=40, preview=True))
        assert next(job) == Accepted()
        tap.flow.clear()
        assert engine.finished.wait(20)
        tap.flow.set()
        events = list(job)
    assert isinstance(events[-1], Result)
    steps = [e for e in events if isinstance(e, Step)]
    assert [s.step for s in steps] == list(range(40))
    shown = sum(s.preview is not None for s in steps)
    assert 1 <= shown < 40
    assert engine.previews == shown, "none was made to be dropped"
