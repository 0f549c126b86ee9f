"""A live server, real sockets: what it answers, what it refuses, and that nothing stops it."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from tests.daemon.doubles import (
    HEIGHT,
    PIXELS,
    SELECTION,
    WIDTH,
    PacedEngine,
    eventually,
    refine,
    serving,
)

from maskgit_daemon.server import MAX_JOBS
from maskgit_refine.client import (
    Accepted,
    Cancelled,
    Client,
    ClientError,
    LostError,
    RefusedError,
    Result,
    Step,
)
from maskgit_refine.connection import Connection

# What it answers


def test_it_says_who_it_is(client: Client) -> None:
    assert client.daemon["max_window_pixels"] == 16_000_000
    status = client.status()
    assert status["device"] == "cpu"
    assert status["protocol"] == 1


def test_it_plans_lists_loads_and_unloads(client: Client) -> None:
    plan = client.plan("starter", (10, 20, 30, 40), (200, 100), 0.3)
    assert plan.window == (10, 20, 30, 40)
    assert (plan.scale, plan.grid, plan.footprint, plan.may_change) == (1.0, (12, 16), 9, 3)
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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(client: Client, value: float) -> None:
    window = np.full(WIDTH * HEIGHT * 4, 0.5, np.float32)
    window[7] = value
    with pytest.raises(RefusedError, match="NaN"):
        list(client.refine(window.tobytes(), SELECTION, WIDTH, HEIGHT, dtype="float32"))


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
