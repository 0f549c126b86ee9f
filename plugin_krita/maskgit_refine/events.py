"""What the worker thread tells the GUI thread. Every event of a job names it."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

from .layers import Rect


class Noted(NamedTuple):
    """Something takes a moment; ``sentence`` says what."""

    job: int
    sentence: str


class Planned(NamedTuple):
    """The canvas pixels to send, and how much may change, in words."""

    job: int
    window: Rect
    text: str


class Foreseen(NamedTuple):
    """How much a job would change, in words."""

    text: str


class Picture(NamedTuple):
    """A patch: where it lies in the window (pixels), its RGBA bytes, 4 a pixel, and how many tokens
    were free to change: with 0 it is what stands there already.
    """

    area: Rect
    pixels: bytes
    footprint: int


class Stepped(NamedTuple):
    """``step`` of ``steps`` is done; ``preview`` is how the patch looks so far, if it came."""

    job: int
    step: int
    steps: int
    preview: Optional[Picture]


class Finished(NamedTuple):
    """The results, one for each variant, and the seconds that the daemon worked on them."""

    job: int
    pictures: Tuple[Picture, ...]
    seconds: float


class Cancelled(NamedTuple):
    """The job ended because it was asked to."""

    job: int


class Failed(NamedTuple):
    """The job ended for the reason in ``sentence``."""

    job: int
    sentence: str


JobEvent = Union[Noted, Planned, Stepped, Finished, Cancelled, Failed]
Event = Union[Foreseen, JobEvent]
