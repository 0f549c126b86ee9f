"""Run long work on the GUI thread in slices, so that Krita never stalls."""

from __future__ import annotations

import time
from typing import Callable, Generator, TypeVar

from .qt import QtCore

SLICE_SECONDS = 0.012
T = TypeVar("T")


def run_in_slices(
    work: Generator[int, None, T],
    done: Callable[[T], None],
    failed: Callable[[Exception], None],
) -> None:
    """Advance ``work`` a few milliseconds at a time; a number it yields is a pause in ms.

    Ends with ``done``, called with its return value, or with ``failed``, called with the exception
    of either.
    """

    def whole() -> Generator[int, None, None]:
        done((yield from work))

    steps = whole()

    def advance() -> None:
        end = time.perf_counter() + SLICE_SECONDS
        try:
            while True:
                pause = next(steps)
                if pause or time.perf_counter() >= end:
                    break
        except StopIteration:
            return
        except Exception as error:
            failed(error)
            return
        QtCore.QTimer.singleShot(pause, advance)

    advance()
