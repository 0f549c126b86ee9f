"""A live server, real sockets: what it answers, what it refuses, and that nothing stops it."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.daemon.doubles import SESSION, PacedEngine, WireTap, serving
from tests.daemon.test_wire import frames_of_refine

from maskgit_daemon.connection_file import new_keys
from maskgit_daemon.server import MAX_JOBS
from maskgit_refine.client import (
    Accepted,
    Cancelled,
    Client,
    ClientError,
    LostError,
    NoDaemonError,
    RefusedError,
    Result,
    Step,
)
from maskgit_refine.connection import Connection
from maskgit_refine.wire import REPLIES, Message, decode

WIDTH, HEIGHT = 6, 4
PIXELS = bytes(range(WIDTH * HEIGHT * 4))
SELECTION = bytes([255]) * (WIDTH * HEIGHT)


@pytest.fixture
def engine() -> PacedEngine:
    return PacedEngine()


@pytest.fixture
def connection(engine: PacedEngine) -> Iterator[Connection]:
    with serving(engine) as (_, connection):
        yield connection


@pytest.fixture
def client(connection: Connection) -> Iterator[Client]:
    with Client(connection) as client:
        yield client


def refine(client: Client, **fields: Any) -> Any:
    return client.refine(PIXELS, SELECTION, WIDTH, HEIGHT, **fields)


def eventually(happens: Callable[[], bool]) -> bool:
    """Whether ``happens`` becomes true; gives up only after so long that it never will."""
    until = time.monotonic() + 20
    while not happens() and time.monotonic() < until:
        time.sleep(0.01)
    return happens()


# What it answers


def test_it_says_who_it_is(client: Client) -> None:
    assert client.daemon["max_window_pixels"] == 16_000_000
    status = client.status()
    assert status["device"] == "cpu"
    assert status["protocol"] == 1


def test_it_plans_lists_loads_and_unloads(client: Client) -> None:
    plan = client.plan("starter", (10, 20, 30, 40), (200, 100))
    assert plan.window == (10, 20, 30, 40)
    assert (plan.scale, plan.grid, plan.footprint) == (1.0, (12, 16), 9)
    assert client.models() == [{"name": "starter", "loaded": False}]
    assert client.load("starter") == {"bundle": "starter"}
    assert client.unload("starter") == {"bundle": "starter"}


@pytest.mark.parametrize("ask", [Client.load, Client.unload])
def test_a_bundle_that_is_not_there_is_told_in_a_sentence(client: Client, ask: Any) -> None:
    with pytest.raises(RefusedError, match="There is no model 'other'") as refused:
        ask(client, "other")
    assert refused.value.kind == "bundle"
    with pytest.raises(RefusedError, match="There is no model"):
        client.plan("other", (0, 0, 1, 1), (9, 9))


def test_a_job_tells_of_its_steps_and_ends_in_its_patches(client: Client) -> None:
    events = list(refine(client, steps=3, preview=True, variants=2))
    assert events[0] == Accepted()
    assert [(e.step, e.steps) for e in events[1:-1]] == [(0, 3), (1, 3), (2, 3)]
    result = events[-1]
    assert isinstance(result, Result)
    assert result.info == {"seconds": 0.5}
    assert len(result.patches) == 2
    patch = result.patches[0]
    assert (patch.left, patch.top, patch.width, patch.height) == (3, 5, WIDTH, HEIGHT)
    assert patch.pixels == bytes(255 - p for p in PIXELS)
    assert patch.grid == (2, 3)
    assert np.frombuffer(patch.tokens, np.int64).tolist() == [0, 1, 2, 3, 4, 5]
    assert patch.info == {"variant": 0}


def test_the_first_preview_always_comes(client: Client) -> None:
    steps = [e for e in refine(client, steps=1, preview=True) if isinstance(e, Step)]
    assert steps[0].preview is not None
    assert steps[0].preview.pixels == bytes(255 - p for p in PIXELS)


def test_floats_come_back_as_floats(client: Client) -> None:
    window = np.linspace(0, 1, WIDTH * HEIGHT * 4, dtype=np.float32)
    job = client.refine(window.tobytes(), SELECTION, WIDTH, HEIGHT, dtype="float32", steps=1)
    result = list(job)[-1]
    assert isinstance(result, Result)
    assert result.patches[0].dtype == "float32"
    assert np.array_equal(np.frombuffer(result.patches[0].pixels, np.float32), 255 - window)


def test_status_and_cancel_are_answered_during_a_job(engine: PacedEngine, client: Client) -> None:
    engine.gate.clear()
    job = iter(running := refine(client))
    assert next(job) == Accepted()
    assert client.status()["device"] == "cpu"
    running.cancel()
    assert list(job) == [Cancelled()]


def test_another_thread_may_cancel(engine: PacedEngine, client: Client) -> None:
    engine.gate.clear()
    job = refine(client)
    threading.Timer(0.1, job.cancel).start()
    assert list(job) == [Accepted(), Cancelled()]


def test_a_cancelled_job_may_be_cancelled_again(client: Client) -> None:
    job = refine(client, steps=1)
    assert isinstance(list(job)[-1], Result)
    job.cancel()
    assert client.status()["device"] == "cpu"


def test_jobs_of_two_clients_do_not_mix(engine: PacedEngine, connection: Connection) -> None:
    with Client(connection) as one, Client(connection) as two:
        engine.gate.clear()
        first, second = refine(one), refine(two)
        ours, theirs = iter(first), iter(second)
        assert (next(ours), next(theirs)) == (Accepted(), Accepted())
        assert first.id == second.id
        first.cancel()
        assert list(ours) == [Cancelled()]
        engine.gate.set()
        assert isinstance(list(theirs)[-1], Result)


# What it refuses


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"strength": 1.5}, "strength must be a number from 0 to 1"),
        ({"steps": 0}, "steps must be a whole number from 1"),
        ({"variants": 17}, "variants must be a whole number from 1 to 16"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"order": "none"}, "There is no order 'none'"),
        ({"feather": -1.0}, "feather must be"),
    ],
)
def test_a_value_out_of_range_is_refused(client: Client, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        list(refine(client, **fields))
    assert refused.value.kind == "request"


def test_an_empty_selection_is_refused(client: Client) -> None:
    with pytest.raises(RefusedError, match="selection is empty"):
        list(client.refine(PIXELS, bytes(WIDTH * HEIGHT), WIDTH, HEIGHT))


def test_pixels_that_are_no_numbers_are_refused(client: Client) -> None:
    window = np.full(WIDTH * HEIGHT * 4, np.nan, np.float32).tobytes()
    with pytest.raises(RefusedError, match="NaN"):
        list(client.refine(window, SELECTION, WIDTH, HEIGHT, dtype="float32"))


def test_the_client_refuses_what_is_not_of_the_protocol(client: Client) -> None:
    with pytest.raises(ClientError, match="must have 96 bytes"):
        client.refine(PIXELS[:-1], SELECTION, WIDTH, HEIGHT)
    with pytest.raises(ClientError, match="no field"):
        refine(client, stepz=3)
    assert isinstance(list(refine(client))[-1], Result)


def test_too_many_jobs_are_refused(engine: PacedEngine, client: Client) -> None:
    engine.gate.clear()
    jobs = [refine(client, steps=1) for _ in range(MAX_JOBS)]
    with pytest.raises(RefusedError, match="64 jobs already") as refused:
        list(refine(client))
    assert refused.value.kind == "busy"
    engine.gate.set()
    assert all(isinstance(list(job)[-1], Result) for job in jobs)


def test_what_cannot_be_written_is_an_error_and_not_silence(
    engine: PacedEngine, client: Client
) -> None:
    engine.info = {"seconds": np.float32(1)}
    with pytest.raises(RefusedError, match="log file says more") as refused:
        list(refine(client))
    assert refused.value.kind == "internal"


def test_a_message_for_an_earlier_daemon_is_refused(connection: Connection) -> None:
    with pytest.raises(RefusedError, match="started anew") as refused:
        Client(connection._replace(session="earlier"))
    assert refused.value.kind == "session"


# Bytes that no client of ours would send


@pytest.fixture
def raw(connection: Connection) -> Iterator[zmq.Socket[bytes]]:
    """A socket with the right keys that sends what it likes."""
    context: zmq.Context[Any] = zmq.Context()
    dealer = dealer_of(context, connection)
    yield dealer
    context.destroy(linger=0)


def dealer_of(context: zmq.Context[Any], connection: Connection) -> zmq.Socket[bytes]:
    dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    dealer.curve_serverkey = connection.server_key.encode()
    dealer.curve_publickey = connection.client_key.encode()
    dealer.curve_secretkey = connection.client_secret.encode()
    dealer.rcvtimeo = 20_000
    dealer.connect(connection.endpoint)
    return dealer


def answer(raw: zmq.Socket[bytes]) -> Message:
    return decode(raw.recv_multipart(), REPLIES)


@pytest.mark.parametrize(
    ("frames", "says", "number"),
    [
        ([b""], "not JSON", 0),
        ([b"\x80\x04pickled"], "not JSON", 0),
        (frames_of_refine()[:2], "2 buffers and 1 came", 7),
        (frames_of_refine(type="paint"), "no message type", 7),
        (frames_of_refine(protocol=99), "protocol 99", 7),
        (frames_of_refine(steps="8"), "whole number", 7),
        (
            frames_of_refine(
                session=SESSION,
                buffers=[
                    {"name": "pixels", "dtype": "uint8", "shape": [-3, -2, 4]},
                    {"name": "selection", "dtype": "uint8", "shape": [3, 2]},
                ],
            ),
            "shape must be",
            7,
        ),
        (
            frames_of_refine(
                buffers=[
                    {"name": "pixels", "dtype": "float64", "shape": [3, 2, 4]},
                    {"name": "selection", "dtype": "uint8", "shape": [3, 2]},
                ],
            ),
            "dtype must be",
            7,
        ),
        ([b"x"] * 200, "200 frames", 0),
    ],
)
def test_bad_bytes_get_a_sentence_and_the_server_goes_on(
    raw: zmq.Socket[bytes], client: Client, frames: list[bytes], says: str, number: int
) -> None:
    raw.send_multipart(frames)
    refusal = answer(raw)
    assert (refusal.type, refusal.id, refusal.fields["kind"]) == ("error", number, "protocol")
    assert says in refusal.fields["message"]
    assert isinstance(list(refine(client, steps=1))[-1], Result)


def test_a_second_job_by_the_same_id_is_refused(
    engine: PacedEngine, raw: zmq.Socket[bytes]
) -> None:
    engine.gate.clear()
    frames = [frames_of_refine(session=SESSION)[0], bytes(24), bytes([255] * 6)]
    raw.send_multipart(frames)
    raw.send_multipart(frames)
    answers = sorted((answer(raw).type, answer(raw).type))
    assert answers == ["accepted", "error"]


@pytest.fixture(scope="module")
def besieged() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """One server for all attempts of the fuzzing, a socket to attack it and one to ask it."""
    with serving(PacedEngine()) as (_, connection):
        context: zmq.Context[Any] = zmq.Context()
        yield dealer_of(context, connection), dealer_of(context, connection)
        context.destroy(linger=0)


FRAGMENTS = st.sampled_from(
    [*frames_of_refine(), b'{"protocol":1,"id":1,"session":"","type":"status"}', b"{}", b"[]"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40) | FRAGMENTS, min_size=1, max_size=6), st.integers(0, 99))
def test_no_bytes_stop_the_server(
    besieged: tuple[zmq.Socket[bytes], zmq.Socket[bytes]], frames: list[bytes], cut: int
) -> None:
    attack, ask = besieged
    attack.send_multipart([frame[: len(frame) - cut % (len(frame) + 1)] for frame in frames])
    assert answer(attack).type in ("error", "status")
    ask.send(b'{"protocol":1,"id":5,"session":"","type":"status"}')
    assert (reply := answer(ask)).type == "status"
    assert reply.id == 5


# Who may come in


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


# Ends


def test_a_client_that_goes_away_has_cancelled_its_jobs(
    engine: PacedEngine, connection: Connection, client: Client
) -> None:
    engine.gate.clear()
    with Client(connection) as leaving:
        assert next(iter(refine(leaving))) == Accepted()
    assert eventually(lambda: engine.was_cancelled(1))
    engine.gate.set()
    assert isinstance(list(refine(client))[-1], Result)


def test_a_job_whose_events_nobody_wants_any_more_is_cancelled(
    engine: PacedEngine, client: Client
) -> None:
    engine.gate.clear()
    for event in refine(client):
        assert event == Accepted()
        break
    assert eventually(lambda: engine.was_cancelled(1))


def test_a_stopped_server_tells_those_who_wait() -> None:
    engine = PacedEngine()
    engine.gate.clear()
    with serving(engine) as (server, connection), Client(connection) as client:
        job = iter(refine(client))
        assert next(job) == Accepted()
        server.stop()
        with pytest.raises(RefusedError, match="stopped before the job was done") as refused:
            list(job)
        assert refused.value.kind == "stopped"


def test_what_was_said_before_the_end_is_read_after_it() -> None:
    with serving(PacedEngine()) as (_, connection):
        client = Client(connection)
        job = refine(client, steps=1)
        assert eventually(lambda: client._channel._socket.poll(0) != 0)
    with client:
        time.sleep(0.1)
        assert isinstance(list(job)[-1], Result)


def running(name: str) -> bool:
    return name in {thread.name for thread in threading.enumerate()}


def test_shutdown_is_agreed_to_and_done() -> None:
    with serving(PacedEngine()) as (server, connection):
        with Client(connection) as client:
            client.shutdown()
        assert eventually(lambda: not running(server.endpoint))


def test_a_client_used_after_the_server_is_gone_says_so() -> None:
    with serving(PacedEngine()) as (_, connection):
        client = Client(connection)
        assert client.status()
    with client:
        with pytest.raises(LostError, match="ended before it had answered"):
            client.status()
        with pytest.raises(LostError, match="ended before it had answered"):
            refine(client)


def test_answers_are_json_that_any_program_reads(raw: zmq.Socket[bytes]) -> None:
    raw.send(b'{"type":"hello","session":"","id":3,"protocol":1}')
    header = json.loads(raw.recv_multipart()[0])
    assert header["type"] == "hello"
    assert (header["id"], header["protocol"], header["session"]) == (3, 1, SESSION)
