"""Bytes that no client of ours would send: refused in a sentence, and nothing stops the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.daemon.doubles import SESSION, PacedEngine, refine, serving
from tests.daemon.test_wire import frames_of_refine

from maskgit_refine.client import Client, Result
from maskgit_refine.connection import Connection
from maskgit_refine.kinds import REPLIES
from maskgit_refine.wire import Message, decode


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


def test_answers_are_json_that_any_program_reads(raw: zmq.Socket[bytes]) -> None:
    raw.send(b'{"type":"hello","session":"","id":3,"protocol":1}')
    header = json.loads(raw.recv_multipart()[0])
    assert header["type"] == "hello"
    assert (header["id"], header["protocol"], header["session"]) == (3, 1, SESSION)
