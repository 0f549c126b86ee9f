"""Jobs for a real engine, and what becomes of them."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np

from maskgit_daemon.engine import Engine
from maskgit_daemon.events import Cancelled, Done, Event, Failed, Patch
from maskgit_daemon.request import RefineRequest

ENDINGS = (Done, Cancelled, Failed)
SECONDS = 120


class Inbox:
    """The events of one job."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def next(self) -> Event:
        return self.events.get(timeout=SECONDS)

    def rest(self) -> list[Event]:
        told = [self.next()]
        while not isinstance(told[-1], ENDINGS):
            told.append(self.next())
        return told

    def patches(self) -> tuple[Patch, ...]:
        ending = self.rest()[-1]
        assert isinstance(ending, Done), ending
        return ending.patches


def request(side: int = 96, seed: int = 0, **fields: Any) -> RefineRequest:
    """A window of noise with a square of 24 pixels selected."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros((side, side), np.uint8)
    selection[32:56, 40:64] = 255
    return RefineRequest(pixels, selection, seed=seed, **({"steps": 3} | fields))


def submit(engine: Engine, job: RefineRequest) -> tuple[int, Inbox]:
    inbox = Inbox()
    return engine.submit(job, inbox.events.put), inbox


def refined(engine: Engine, job: RefineRequest) -> tuple[Patch, ...]:
    return submit(engine, job)[1].patches()


def same(first: tuple[Patch, ...], second: tuple[Patch, ...]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a.pixels, b.pixels)
        and np.array_equal(a.tokens, b.tokens)
        and (a.left, a.top, a.info) == (b.left, b.top, b.info)
        for a, b in zip(first, second, strict=True)
    )
