"""Messages as frames: a JSON header, then the raw buffers that the header describes.

The one definition of the protocol, for the daemon and for every client, with :mod:`.kinds`, which
tells what each type of message holds; ``docs/protocol.md`` is its prose. Whatever comes off the
wire is checked here, sizes first, before memory is taken for it.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, NoReturn, Sequence, Tuple

from .kinds import Kind, is_int

PROTOCOL = 1
MAX_HEADER = 1 << 20
MAX_BUFFERS = 64
MAX_RANK = 3
MAX_ID = 2**53 - 1
MAX_WINDOW_PIXELS = 16_000_000
DTYPES = {"uint8": 1, "float32": 4, "int64": 8}
MAX_BUFFER = MAX_WINDOW_PIXELS * 4 * DTYPES["float32"]
ENVELOPE = ("protocol", "id", "session", "type", "buffers")


class WireError(Exception):
    """A message that is not of the protocol; ``str(error)`` is one sentence.

    ``id`` is the message's id as far as it could be read, else 0.
    """

    def __init__(self, sentence: str, message_id: int = 0) -> None:
        super().__init__(sentence)
        self.id = message_id


class Buffer(NamedTuple):
    """A row-major little-endian array: its name, dtype (a key of DTYPES), shape and bytes."""

    name: str
    dtype: str
    shape: Tuple[int, ...]
    data: Any


class Message(NamedTuple):
    """One message. ``fields`` lie in the header beside the envelope, under their own names."""

    type: str
    id: int
    session: str
    fields: Mapping[str, Any]
    buffers: Tuple[Buffer, ...] = ()


def encode(message: Message, kinds: Mapping[str, Kind]) -> List[Any]:
    """The frames of ``message``, checked as :func:`decode` checks; buffers are not copied."""
    views = [memoryview(b.data).cast("B") for b in message.buffers]
    header = {
        "protocol": PROTOCOL,
        "id": message.id,
        "session": message.session,
        "type": message.type,
        "buffers": [
            {"name": b.name, "dtype": b.dtype, "shape": list(b.shape)} for b in message.buffers
        ],
    }
    header.update(message.fields)
    if message.type in kinds:
        # Names the field where JSON would speak of floats that are not compliant.
        _check_fields(message.type, kinds[message.type], message.fields)
    try:
        text = json.dumps(header, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise WireError(f"A {message.type} message cannot be written as JSON: {error}.") from None
    frames = [text.encode("ascii"), *views]
    decode(frames, kinds)
    return frames


def decode(frames: Sequence[Any], kinds: Mapping[str, Kind]) -> Message:
    """The message in ``frames`` (bytes-like; buffers become views, not copies).

    ``kinds``: REQUESTS in the daemon, REPLIES in a client. Raises :class:`WireError`.
    """
    if not frames:
        raise WireError("The message has no frames; send a header and its buffers.")
    if len(frames) > 1 + MAX_BUFFERS:
        raise WireError(f"The message has {len(frames)} frames; send at most {1 + MAX_BUFFERS}.")
    views = [memoryview(frame) for frame in frames]
    header = _read_header(views[0])
    message_id: Any = header.get("id")
    if not is_int(message_id) or not 0 <= message_id <= MAX_ID:
        raise WireError(f"The message's id must be a whole number from 0 to {MAX_ID}.")
    try:
        return _check(header, views[1:], kinds)
    except WireError as error:
        error.id = message_id
        raise


def _read_header(view: memoryview) -> Dict[str, Any]:
    if view.nbytes > MAX_HEADER:
        raise WireError(f"The header has {view.nbytes} bytes; send at most {MAX_HEADER}.")
    try:
        header = json.loads(
            bytes(view).decode("utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError):
        raise WireError("The header is not JSON in UTF-8; send one JSON object.") from None
    if not isinstance(header, dict):
        raise WireError("The header is not a JSON object; send one.")
    return header


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _check(header: Dict[str, Any], views: List[memoryview], kinds: Mapping[str, Kind]) -> Message:
    protocol, session, name = header.get("protocol"), header.get("session"), header.get("type")
    if protocol != PROTOCOL or isinstance(protocol, (bool, float)):
        raise WireError(
            f"The message is of protocol {_show(protocol)} and this end speaks {PROTOCOL}; "
            "update the older of the two."
        )
    if not isinstance(session, str) or len(session) > 64:
        raise WireError("The message's session must be a text of at most 64 characters.")
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(name, str):
        raise WireError(f"There is no message type {_show(name)}; use one of {', '.join(kinds)}.")
    fields = {key: value for key, value in header.items() if key not in ENVELOPE}
    _check_fields(name, kind, fields)
    buffers = _check_buffers(name, header.get("buffers", []), views)
    _check_layout(name, kind, buffers, fields)
    return Message(name, header["id"], session, fields, buffers)


def _check_fields(name: str, kind: Kind, fields: Mapping[str, Any]) -> None:
    for key, field in kind.fields.items():
        if key not in fields:
            if field.required:
                raise WireError(f"A {name} message needs the field {key}: {field.wants}.")
        elif not field.accepts(fields[key]):
            raise WireError(f"The field {key} of a {name} message must be {field.wants}.")
    unknown = [key for key in fields if key not in kind.fields]
    if kind.closed and unknown:
        raise WireError(f"A {name} message has no field {_show(unknown[0])}; leave it out.")


def _check_buffers(name: str, described: Any, views: List[memoryview]) -> Tuple[Buffer, ...]:
    if not isinstance(described, list) or len(described) != len(views):
        told = len(described) if isinstance(described, list) else "no list of"
        raise WireError(
            f"The header of the {name} message tells of {told} buffers and {len(views)} came; "
            "send a frame for each."
        )
    return tuple(_check_buffer(entry, view) for entry, view in zip(described, views))


def _check_buffer(entry: Any, view: memoryview) -> Buffer:
    if not isinstance(entry, dict) or set(entry) != {"name", "dtype", "shape"}:
        raise WireError("A buffer is described by exactly name, dtype and shape.")
    name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
    if not isinstance(name, str) or len(name) > 64:
        raise WireError("A buffer's name must be a text of at most 64 characters.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise WireError(f"A buffer's dtype must be one of {', '.join(DTYPES)}, not {_show(dtype)}.")
    sized = isinstance(shape, list) and 1 <= len(shape) <= MAX_RANK and all(map(is_int, shape))
    if not sized or not all(1 <= side <= MAX_WINDOW_PIXELS for side in shape):
        raise WireError(
            f"A buffer's shape must be 1 to {MAX_RANK} whole numbers "
            f"from 1 to {MAX_WINDOW_PIXELS}, not {_show(shape)}."
        )
    size = DTYPES[dtype]
    for side in shape:
        size *= side
    if size > MAX_BUFFER:
        raise WireError(f"The buffer {_show(name)} would take {size} bytes; at most {MAX_BUFFER}.")
    if size != view.nbytes:
        raise WireError(
            f"The buffer {_show(name)} must have {size} bytes for its shape and dtype, "
            f"not {view.nbytes}."
        )
    return Buffer(name, dtype, tuple(shape), view)


def _check_layout(
    name: str, kind: Kind, buffers: Tuple[Buffer, ...], fields: Mapping[str, Any]
) -> None:
    times = len(fields["patches"]) if kind.repeated else 1
    wanted = kind.buffers * min(times, MAX_BUFFERS)
    if len(buffers) != len(wanted):
        raise WireError(f"This {name} message needs {len(wanted)} buffers, not {len(buffers)}.")
    for buffer, (want, dtypes, rank) in zip(buffers, wanted):
        if buffer.name != want or buffer.dtype not in dtypes or len(buffer.shape) != rank:
            raise WireError(
                f"The buffers of a {name} message must be, in this order, "
                + ", ".join(f"{n} ({' or '.join(d)}, rank {r})" for n, d, r in kind.buffers)
                + "."
            )
        if want == "pixels":
            _check_pixels(buffer)
    if name == "refine" and buffers[0].shape[:2] != buffers[1].shape:
        raise WireError("The selection must have the width and height of the pixels.")


def _check_pixels(buffer: Buffer) -> None:
    height, width, channels = buffer.shape
    if channels != 4:
        raise WireError(f"The pixels must have 4 channels (RGBA), not {channels}.")
    if height * width > MAX_WINDOW_PIXELS:
        raise WireError(
            f"The window has {height * width / 1e6:.1f} megapixels; "
            f"send at most {MAX_WINDOW_PIXELS // 1_000_000}."
        )


def _show(value: Any) -> str:
    """A stranger's value as a short piece of a sentence."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
