"""Long work in slices: it goes on by timer and ends in exactly one place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from tests.unit.plugin_qt import plugin_module, turn_until

Run = Callable[..., None]


@pytest.fixture
def run_in_slices() -> Iterator[Run]:
    with plugin_module("slices") as module:
        yield module.run_in_slices


def work(pauses: int, error: Exception | None = None) -> Generator[int, None, str]:
    for _ in range(pauses):
        yield 1
    if error:
        raise error
    return "made"


@pytest.mark.parametrize("pauses", [0, 2])
def test_what_the_work_returns_goes_to_done(run_in_slices: Run, pauses: int) -> None:
    done: list[Any] = []
    failed: list[Any] = []
    run_in_slices(work(pauses), done.append, failed.append)
    assert (not done) == (pauses > 0)
    turn_until(lambda: bool(done or failed))
    assert (done, failed) == (["made"], [])


@pytest.mark.parametrize("pauses", [0, 2])
@pytest.mark.parametrize("by_done", [False, True])
def test_an_error_of_the_work_or_of_done_goes_to_failed(
    run_in_slices: Run, pauses: int, by_done: bool
) -> None:
    error = ValueError("spilt")
    failed: list[Any] = []

    def done(made: str) -> None:
        raise error

    run_in_slices(work(pauses, None if by_done else error), done, failed.append)
    turn_until(lambda: bool(failed))
    assert failed == [error]
