"""The engine with the model that ships: jobs in company, cancelled, failing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.daemon.engine_jobs import Inbox, refined, request, same, submit

from maskgit_daemon.engine import Engine
from maskgit_daemon.events import Cancelled, Done, Failed, Step
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Engine("cpu", threads=1)
    yield made
    made.close()


# One job


def test_steps_are_told_in_order_and_then_the_result(engine: Engine) -> None:
    events = submit(engine, request(steps=4))[1].rest()
    assert [(e.step, e.steps) for e in events[:-1] if isinstance(e, Step)] == [
        (n, 4) for n in range(4)
    ]
    ending = events[-1]
    assert isinstance(ending, Done)
    assert ending.info["seconds"] >= ending.info["runtime_seconds"] > 0
    assert ending.info["device"] == "cpu"


def test_equal_requests_give_equal_bytes(engine: Engine) -> None:
    assert same(refined(engine, request(seed=7)), refined(engine, request(seed=7)))
    assert not same(refined(engine, request(seed=7)), refined(engine, request(seed=8)))


def test_a_variant_is_what_it_is_however_many_are_asked_for(engine: Engine) -> None:
    one, four = (refined(engine, request(seed=5, variants=n)) for n in (1, 4))
    assert len(four) == 4
    assert same(one, four[:1])
    assert not np.array_equal(four[0].pixels, four[1].pixels)


def test_floats_come_back_as_floats_of_the_same_picture(engine: Engine) -> None:
    whole = request()
    floats = RefineRequest(
        whole.pixels.astype(np.float32) * np.float32(1 / 255), whole.selection, steps=3
    )
    (exact,), (rounded,) = refined(engine, floats), refined(engine, whole)
    assert exact.pixels.dtype == np.float32
    assert np.array_equal(exact.tokens, rounded.tokens)
    assert np.array_equal((exact.pixels * 255 + 0.5).astype(np.uint8), rounded.pixels)


def test_strength_0_returns_the_windows_own_bytes(engine: Engine) -> None:
    job = request(strength=0.0)
    events = submit(engine, job)[1].rest()
    assert len(events) == 1
    assert isinstance(events[0], Done)
    (patch,) = events[0].patches
    assert (patch.left, patch.top, patch.pixels.shape) == (40, 32, (24, 24, 4))
    assert np.array_equal(patch.pixels[..., :3], job.pixels[32:56, 40:64, :3])
    assert patch.info["footprint"] == 0
    (*_, last) = submit(engine, request(strength=0.0, variants=3))[1].rest()
    assert isinstance(last, Done)
    assert [patch.info["variant"] for patch in last.patches] == [0, 1, 2]


def test_strength_0_keeps_what_is_transparent(engine: Engine) -> None:
    job = request(strength=0.0)
    job.pixels[..., 3] = np.arange(96)
    job.selection[32:56, 40:64] = 128
    expected = np.round(job.pixels[32:56, 40:64, 3] * (128 / 255))
    assert np.array_equal(refined(engine, job)[0].pixels[..., 3], expected)
    floats = RefineRequest(
        job.pixels.astype(np.float32) / np.float32(255), job.selection, strength=0.0
    )
    alpha = refined(engine, floats)[0].pixels[..., 3]
    assert alpha == pytest.approx(job.pixels[32:56, 40:64, 3] / 255 * (128 / 255), abs=1e-6)


def test_the_alpha_of_the_patch_is_the_selection(engine: Engine) -> None:
    job = request()
    soft = np.random.default_rng(3).integers(0, 256, (20, 30), np.uint8)
    job.selection[:] = 0
    job.selection[10:30, 50:80] = soft
    (patch,) = refined(engine, job)
    alpha = np.zeros_like(job.selection)
    height, width = patch.pixels.shape[:2]
    alpha[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels[..., 3]
    assert np.array_equal(alpha, job.selection)


def test_a_window_that_is_all_selected_is_synthesis(engine: Engine) -> None:
    job = request()
    job.selection[:] = 255
    (patch,) = refined(engine, job)
    assert patch.pixels.shape == (96, 96, 4)
    blank = RefineRequest(np.zeros((96, 96, 4), np.uint8), job.selection, steps=3)
    # Nothing that was selected has a say, be it noise or nothing at all.
    assert np.array_equal(refined(engine, blank)[0].tokens, patch.tokens)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
def test_the_smallest_windows_work(engine: Engine, size: tuple[int, int]) -> None:
    pixels = np.full((*size, 4), 128, np.uint8)
    job = RefineRequest(pixels, np.full(size, 255, np.uint8), steps=2)
    assert refined(engine, job)[0].pixels.shape == (*size, 4)


def test_a_selection_larger_than_the_grid_is_made_coarse_first_and_then_in_tiles(
    engine: Engine,
) -> None:
    pixels = np.full((300, 420, 4), 255, np.uint8)
    pixels[..., 0] = np.arange(420) * 255 // 419
    selection = np.zeros((300, 420), np.uint8)
    selection[20:280, 20:400] = 255
    events = submit(engine, RefineRequest(pixels, selection, steps=2))[1].rest()
    told = [(e.step, e.steps) for e in events[:-1] if isinstance(e, Step)]
    assert told == [(n, told[0][1]) for n in range(len(told))]
    assert len(told) == told[0][1] > 2
    assert isinstance(events[-1], Done)
    (patch,) = events[-1].patches
    assert (patch.left, patch.top, patch.pixels.shape) == (20, 20, (260, 380, 4))
    assert (patch.pixels[..., 3] == 255).all()


def test_previews_come_if_asked_for(engine: Engine) -> None:
    told = [e for e in submit(engine, request(preview=True))[1].rest() if isinstance(e, Step)]
    shown = [e.preview for e in told if e.preview is not None]
    assert told[0].preview is None
    assert len(shown) == 2
    assert all(preview.pixels.shape == (24, 24, 4) for preview in shown)


def test_a_preview_that_nobody_would_get_is_not_decoded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    decode = Model.decode

    def counted(model: Model, tokens: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(model, tokens)

    monkeypatch.setattr(Model, "decode", counted)
    inbox = Inbox()
    engine.submit(request(steps=4, preview=True), inbox.events.put, lambda: False)
    told = [event for event in inbox.rest() if isinstance(event, Step)]
    assert [step.preview for step in told] == [None] * 4
    assert decoded == 1, "the result alone"


# Jobs in company


def test_jobs_side_by_side_give_the_bytes_they_give_alone(engine: Engine) -> None:
    jobs = [
        request(seed=1, steps=6),
        request(seed=2, steps=3, schedule="linear"),
        request(side=136, seed=3, steps=4),
        request(seed=4, steps=5, label="rock", guidance_scale=2.0),
        request(seed=5, steps=2, variants=2, strength=0.6),
    ]
    alone = [refined(engine, job) for job in jobs]
    inboxes = [submit(engine, job)[1] for job in jobs]
    for inbox, expected in zip(inboxes, alone, strict=True):
        assert same(inbox.patches(), expected)


def test_a_short_job_does_not_wait_for_a_long_one(engine: Engine) -> None:
    long, inbox = submit(engine, request(steps=256))
    inbox.next()
    assert refined(engine, request(side=136, steps=2))
    assert engine.cancel(long)
    assert isinstance(inbox.rest()[-1], Cancelled)


# Cancelled, failed, closed


def test_cancel_ends_a_job_before_its_next_but_one_step(engine: Engine) -> None:
    number, inbox = submit(engine, request(steps=256))
    while not isinstance(inbox.next(), Step):
        pass
    told_before = inbox.events.qsize()
    assert engine.cancel(number)
    rest = inbox.rest()
    assert isinstance(rest[-1], Cancelled)
    # One step may have been on its way when cancel was called, and one been told meanwhile.
    assert len(rest) <= told_before + 3
    assert not engine.cancel(number)
    assert engine.status()["jobs"] == 0


def test_a_job_cancelled_in_the_queue_never_begins(engine: Engine) -> None:
    first, ahead = submit(engine, request(steps=256))
    ahead.next()
    second, inbox = submit(engine, request(steps=256))
    engine.cancel(second)
    assert isinstance(inbox.rest()[-1], Cancelled)
    engine.cancel(first)
    assert isinstance(ahead.rest()[-1], Cancelled)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"label": "unicorn"}, "knows no class 'unicorn'"),
        ({"prompt": "a unicorn"}, "takes no prompt"),
        ({"bundle": "other"}, "There is no model 'other'; choose one of starter"),
        ({"guidance": "magic", "strength": 0.5}, "magic"),
    ],
)
def test_a_job_that_cannot_be_done_fails_with_a_sentence_and_the_next_works(
    engine: Engine, fields: dict[str, Any], says: str
) -> None:
    _, inbox = submit(engine, request(**fields))
    neighbour = submit(engine, request())[1]
    (event,) = inbox.rest()
    assert isinstance(event, Failed)
    assert says in event.message
    assert len(neighbour.patches()) == 1


def test_closing_tells_those_who_wait() -> None:
    engine = Engine("cpu", threads=1)
    inboxes = [submit(engine, request(steps=256, seed=n))[1] for n in range(3)]
    inboxes[0].next()
    engine.close()
    assert [type(inbox.rest()[-1]) for inbox in inboxes] == [Cancelled] * 3
