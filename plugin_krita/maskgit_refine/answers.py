"""What the daemon answers, as values: plans, the events of a job, its patches."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from .connection import ClientError
from .wire import Message


class RefusedError(ClientError):
    """The daemon's own sentence; ``kind`` is the error's kind in the protocol."""

    def __init__(self, sentence: str, kind: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class Patch(NamedTuple):
    """A rectangle of the window that was sent, unblended, its alpha the selection.

    ``pixels``: width × height RGBA rows as ``dtype`` (uint8 or float32). ``tokens``: int64 of
    ``grid`` (height, width).
    """

    left: int
    top: int
    width: int
    height: int
    dtype: str
    pixels: bytes
    grid: Tuple[int, int]
    tokens: bytes
    info: Dict[str, Any]


class Accepted(NamedTuple):
    """The daemon has queued the job."""


class Step(NamedTuple):
    """Step ``step`` of ``steps`` is done; ``preview`` if one was asked for and there was time."""

    step: int
    steps: int
    preview: Optional[Patch]


class Result(NamedTuple):
    """The job is done: its patches, one a variant and tile."""

    patches: Tuple[Patch, ...]
    info: Dict[str, Any]


class Cancelled(NamedTuple):
    """The job was cancelled and leaves nothing."""


class Plan(NamedTuple):
    """What is to be sent and what will change, told before any pixel is read.

    ``window``: left, top, width, height of the canvas pixels to send. ``scale``: 1, or below 1
    where a coarse pass comes first. ``grid``: tokens (height, width) of the first pass;
    ``footprint``: tokens that the selection's bounds touch at native size; ``may_change`` of them
    may change, the guidance holds the others as they were painted.
    """

    window: Tuple[int, int, int, int]
    scale: float
    grid: Tuple[int, int]
    footprint: int
    may_change: int

    def text(self) -> str:
        """What the user is told before the job: "38 of 96 tokens may change"."""
        count = f"{self.footprint} token" + "s" * (self.footprint != 1)
        if self.may_change < self.footprint:
            count = f"{self.may_change} of {count}"
        text = f"{count} may change"
        return text if self.scale >= 1 else f"{text}, coarse pass first"


Event = Union[Accepted, Step, Result, Cancelled]


def refusal(message: Message) -> RefusedError:
    return RefusedError(str(message.fields["message"]), str(message.fields["kind"]))


def event(message: Message) -> Event:
    if message.type == "accepted":
        return Accepted()
    if message.type == "step":
        patches = patches_of(message)
        return Step(
            message.fields["step"], message.fields["steps"], patches[0] if patches else None
        )
    if message.type == "result":
        return Result(patches_of(message), message.fields["info"])
    if message.type == "cancelled":
        return Cancelled()
    raise refusal(message)


def patches_of(message: Message) -> Tuple[Patch, ...]:
    found = []
    for index, told in enumerate(message.fields["patches"]):
        pixels, tokens = message.buffers[2 * index : 2 * index + 2]
        height, width = pixels.shape[:2]
        found.append(
            Patch(
                int(told["left"]),
                int(told["top"]),
                width,
                height,
                pixels.dtype,
                pixels.data.obj,
                (tokens.shape[0], tokens.shape[1]),
                tokens.data.obj,
                dict(told["info"]),
            )
        )
    return tuple(found)


def plan_of(told: Mapping[str, Any]) -> Plan:
    """The plan in a ``plan`` answer."""
    left, top, width, height = told["window"]
    rows, columns = told["grid"]
    window = (left, top, width, height)
    counts = int(told["footprint"]), int(told["may_change"])
    return Plan(window, float(told["scale"]), (rows, columns), *counts)
