"""The wire: what is written can be read, and nothing else can."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgit_daemon import request
from maskgit_refine import wire
from maskgit_refine.kinds import REFINE_FIELDS, REPLIES, REQUESTS, Kind
from maskgit_refine.wire import (
    DTYPES,
    MAX_BUFFERS,
    MAX_HEADER,
    MAX_WINDOW_PIXELS,
    Buffer,
    Message,
    WireError,
    decode,
    encode,
)

ROOT = Path(__file__).parents[2]
TEXT = st.text('aZ0 "\\\n/é中🖌\ud800', max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)


def header_of_refine(**changes: Any) -> dict[str, Any]:
    """A sound header for a 2 × 3 window, with changes; None takes a key away."""
    header: dict[str, Any] = {
        "protocol": 1,
        "id": 7,
        "session": "s",
        "type": "refine",
        "buffers": [
            {"name": "pixels", "dtype": "uint8", "shape": [3, 2, 4]},
            {"name": "selection", "dtype": "uint8", "shape": [3, 2]},
        ],
        **changes,
    }
    return {key: value for key, value in header.items() if value is not ...}


def frames_of_refine(**changes: Any) -> list[bytes]:
    return [json.dumps(header_of_refine(**changes)).encode(), bytes(24), bytes(6)]


def buffers_with(index: int, **changes: Any) -> list[dict[str, Any]]:
    buffers: list[dict[str, Any]] = header_of_refine()["buffers"]
    buffers[index].update(changes)
    return buffers


def test_a_sound_message_is_read_as_it_was_written() -> None:
    message = decode(frames_of_refine(steps=4, label=None, options={"a": 1.5}), REQUESTS)
    assert (message.type, message.id, message.session) == ("refine", 7, "s")
    assert message.fields == {"steps": 4, "label": None, "options": {"a": 1.5}}
    assert [(b.name, b.shape, bytes(b.data)) for b in message.buffers] == [
        ("pixels", (3, 2, 4), bytes(24)),
        ("selection", (3, 2), bytes(6)),
    ]


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from(["uint8", "float32"]),
    st.integers(0, wire.MAX_ID),
    st.fixed_dictionaries(
        {},
        optional={
            "seed": st.integers(0, 2**63 - 1),
            "strength": st.floats(0, 1),
            "prompt": st.none() | TEXT,
            "preview": st.booleans(),
        },
    ),
    st.data(),
)
def test_what_is_encoded_is_decoded(
    width: int, height: int, dtype: str, number: int, fields: dict[str, Any], data: st.DataObject
) -> None:
    size = width * height
    pixels = data.draw(
        st.binary(min_size=4 * size * DTYPES[dtype], max_size=4 * size * DTYPES[dtype])
    )
    selection = data.draw(st.binary(min_size=size, max_size=size))
    sent = Message(
        "refine",
        number,
        "session",
        fields,
        (
            Buffer("pixels", dtype, (height, width, 4), pixels),
            Buffer("selection", "uint8", (height, width), selection),
        ),
    )
    assert decode(encode(sent, REQUESTS), REQUESTS) == sent


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([], "no frames"),
        ([b""], "not JSON"),
        ([b"\xff\xfe"], "not JSON"),
        ([b"[]"], "not a JSON object"),
        ([b'{"id":1,"id":2}'], "not JSON"),
        ([b'{"id":NaN}'], "not JSON"),
        ([b"[" * 100_000], "not JSON"),
        ([b" " * (MAX_HEADER + 1)], "header has"),
        ([b"{}"] * (MAX_BUFFERS + 2), "frames"),
        (frames_of_refine()[:1], "tells of 2 buffers and 0 came"),
        (frames_of_refine()[:2], "tells of 2 buffers and 1 came"),
        ([*frames_of_refine(), b"more"], "tells of 2 buffers and 3 came"),
        ([frames_of_refine()[0], bytes(23), bytes(6)], "must have 24 bytes"),
        ([frames_of_refine()[0], bytes(24), b""], "must have 6 bytes"),
        (frames_of_refine(id=...), "id must be"),
        (frames_of_refine(id=-1), "id must be"),
        (frames_of_refine(id=True), "id must be"),
        (frames_of_refine(id=1.0), "id must be"),
        (frames_of_refine(id=2**60), "id must be"),
        (frames_of_refine(protocol=2), "protocol 2 and this end speaks 1"),
        (frames_of_refine(protocol=True), "protocol true"),
        (frames_of_refine(protocol=...), "protocol null"),
        (frames_of_refine(session=5), "session"),
        (frames_of_refine(session="s" * 65), "session"),
        (frames_of_refine(type="paint"), 'no message type "paint"'),
        (frames_of_refine(type=["refine"]), "no message type"),
        (frames_of_refine(type="result"), "no message type"),
        (frames_of_refine(buffers="two"), "no list of buffers"),
        (frames_of_refine(buffers=...), "tells of 0 buffers and 2 came"),
        (frames_of_refine(buffers=[1, 2]), "exactly name, dtype and shape"),
        (frames_of_refine(buffers=buffers_with(0, more=1)), "exactly name, dtype and shape"),
        (frames_of_refine(buffers=buffers_with(0, dtype="object")), "dtype must be one of"),
        (frames_of_refine(buffers=buffers_with(0, dtype=["uint8"])), "dtype must be one of"),
        (frames_of_refine(buffers=buffers_with(0, shape=[3, -2, 4])), "whole numbers from 1"),
        (frames_of_refine(buffers=buffers_with(0, shape=[0, 2, 4])), "whole numbers from 1"),
        (frames_of_refine(buffers=buffers_with(0, shape=[3, 2.0, 4])), "whole numbers from 1"),
        (frames_of_refine(buffers=buffers_with(0, shape=[2**62, 2, 4])), "whole numbers from 1"),
        (frames_of_refine(buffers=buffers_with(0, shape=[3, 2, 2, 2])), "1 to 3 whole numbers"),
        (frames_of_refine(buffers=buffers_with(0, shape=[])), "1 to 3 whole numbers"),
        (frames_of_refine(buffers=buffers_with(0, shape=24)), "1 to 3 whole numbers"),
        (frames_of_refine(buffers=buffers_with(0, shape=[10**7] * 3)), "would take"),
        (frames_of_refine(buffers=buffers_with(0, shape=[4, 2, 3])), "4 channels"),
        (frames_of_refine(buffers=buffers_with(0, shape=[2, 3, 4])), "width and height"),
        (frames_of_refine(buffers=buffers_with(0, shape=[24])), "in this order"),
        (frames_of_refine(buffers=buffers_with(0, name="pixel")), "in this order"),
        (frames_of_refine(buffers=buffers_with(1, name="pixels")), "in this order"),
        (frames_of_refine(steps="8"), "field steps of a refine message must be a whole number"),
        (frames_of_refine(steps=8.0), "must be a whole number"),
        (frames_of_refine(steps=True), "must be a whole number"),
        (frames_of_refine(strength=[1]), "must be a finite number"),
        (frames_of_refine(options={"a": "b"}), "finite numbers"),
        (frames_of_refine(prompt="p" * 9000), "at most 8192 characters"),
        (frames_of_refine(preview=1), "true or false"),
        (frames_of_refine(bundle=None), "must be a text"),
        (frames_of_refine(stepz=3), 'no field "stepz"'),
        ([b'{"protocol":1,"id":1,"session":"","type":"load"}'], "needs the field bundle"),
        ([b'{"protocol":1,"id":1,"session":"","type":"cancel","job":1e400}'], "whole number"),
        ([b'{"protocol":1,"id":1,"session":"","type":"status"}', b"x"], "0 buffers and 1 came"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(frames: list[bytes], says: str) -> None:
    with pytest.raises(WireError) as refused:
        decode(frames, REQUESTS)
    assert says in str(refused.value)
    assert str(refused.value).endswith(".")


def test_a_window_beyond_16_megapixels_is_refused_by_the_header_alone() -> None:
    side = MAX_WINDOW_PIXELS // 4000 + 1
    # Never touched, so never really taken: the check must come before the bytes are looked at.
    big = memoryview(bytearray(1)).cast("B")
    buffers = [
        {"name": "pixels", "dtype": "uint8", "shape": [4000, side, 4]},
        {"name": "selection", "dtype": "uint8", "shape": [4000, side]},
    ]
    with pytest.raises(WireError, match=f"must have {4000 * side * 4} bytes"):
        decode([frames_of_refine(buffers=buffers)[0], big, big], REQUESTS)
    pixels = bytes(4000 * side * 4)
    with pytest.raises(WireError, match="megapixels; send at most 16"):
        decode(
            [frames_of_refine(buffers=buffers)[0], pixels, memoryview(pixels)[: 4000 * side]],
            REQUESTS,
        )


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_a_message_or_a_wire_error(frames: list[bytes]) -> None:
    for kinds in (REQUESTS, REPLIES):
        with pytest.raises(WireError):
            decode(frames, kinds)


@given(st.sampled_from(sorted([*header_of_refine(), *REFINE_FIELDS, "new"])), JSON)
def test_any_value_in_any_place_is_a_message_or_a_wire_error(key: str, value: Any) -> None:
    frames = frames_of_refine(**{key: value})
    try:
        message = decode(frames, REQUESTS)
    except WireError:
        return
    assert message.type == "refine"


@given(st.sampled_from(["name", "dtype", "shape"]), JSON, st.integers(0, 1))
def test_any_value_in_a_buffer_is_a_message_or_a_wire_error(
    key: str, value: Any, index: int
) -> None:
    frames = frames_of_refine(buffers=buffers_with(index, **{key: value}))
    try:
        decoded = decode(frames, REQUESTS)
    except WireError:
        return
    assert decoded == decode(frames_of_refine(), REQUESTS)


def test_an_error_names_the_message_it_is_about() -> None:
    with pytest.raises(WireError) as refused:
        decode(frames_of_refine(steps="many"), REQUESTS)
    assert refused.value.id == 7


def test_strokes_of_another_size_than_the_selection_are_refused() -> None:
    other = {"name": "selection", "dtype": "uint8", "shape": [2, 2]}
    header = header_of_refine()
    header["buffers"][1] = other
    with pytest.raises(WireError, match="must have the width and height of the pixels"):
        decode([json.dumps(header).encode(), bytes(24), bytes(4)], REQUESTS)


def test_a_number_that_json_has_not_is_refused_by_the_name_of_its_field() -> None:
    fields = {"bundle": "b", "bounds": [0, 0, 1, 1], "canvas": [9, 9], "strength": float("nan")}
    with pytest.raises(WireError, match="field strength of a plan message must be a finite"):
        encode(Message("plan", 1, "s", fields), REQUESTS)


def test_the_fields_of_refine_are_those_of_the_request() -> None:
    names = [f.name for f in dataclasses.fields(request.RefineRequest)]
    assert sorted(names) == sorted([*REFINE_FIELDS, "pixels", "selection"])
    assert request.MAX_WINDOW_PIXELS == MAX_WINDOW_PIXELS


def vectors() -> list[Any]:
    text = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    blocks = re.findall(r"```vector (\S+) (request|reply)\n(.*?)```", text, re.DOTALL)
    return [pytest.param(kind, body, id=name) for name, kind, body in blocks]


def test_every_message_type_has_a_byte_vector() -> None:
    shown = {
        (kind, decode(frames(body), table(kind)).type) for kind, body in map(values, vectors())
    }
    assert shown == {("request", t) for t in REQUESTS} | {("reply", t) for t in REPLIES}


@pytest.mark.parametrize(("kind", "body"), vectors())
def test_the_documented_bytes_are_those_of_the_code(kind: str, body: str) -> None:
    written = frames(body)
    message = decode(written, table(kind))
    assert [bytes(frame) for frame in encode(message, table(kind))] == written


def values(parameters: Any) -> tuple[str, str]:
    return parameters.values


def table(kind: str) -> dict[str, Kind]:
    return REQUESTS if kind == "request" else REPLIES


def frames(body: str) -> list[bytes]:
    """The frames of a vector: the header as text, then each buffer in hexadecimal."""
    header, *buffers = body.strip().splitlines()
    return [header.encode(), *map(bytes.fromhex, buffers)]


def test_the_plugins_part_is_python_3_8() -> None:
    for name in ("kinds", "wire", "answers", "connection", "client", "launch"):
        source = (ROOT / "plugin_krita" / "maskgit_refine" / f"{name}.py").read_text("utf-8")
        tree = ast.parse(source, feature_version=(3, 8))
        roots = {
            (node.module or "").partition(".")[0]
            if isinstance(node, ast.ImportFrom)
            else alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            and not (isinstance(node, ast.ImportFrom) and node.level)
            for alias in node.names
        }
        assert not roots & {"numpy", "krita", "PIL", "maskgit_daemon", "click", "platformdirs"}
