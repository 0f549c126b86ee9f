"""Refine more: which tokens are taken back, and what the loop does with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskgit_daemon.decode import DecodeJob, decode, run
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.remask import MARGIN, SHARE, doubtful, suits

CODES = 6


@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_an_eighth_is_taken_back_each_cell_once(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice(1000, count, replace=False))
    chosen = doubtful(cells, -rng.exponential(2.0, count).astype(np.float32), noise(rng, count))
    assert len(chosen) == len(set(chosen.tolist())) == max(1, round(SHARE * count))
    assert set(chosen.tolist()) <= set(cells.tolist())
    assert (np.diff(chosen) > 0).all()


def test_the_unlikely_are_taken_back_more_often_and_the_certain_never() -> None:
    rng = np.random.default_rng(3)
    log_probability = np.log(np.array([1.0, 0.9, 0.1, 0.1] * 4, np.float32))
    hits = np.zeros(16)
    for _ in range(2000):
        hits[doubtful(np.arange(16), log_probability, noise(rng, 16))] += 1
    by_kind = hits.reshape(4, 4).sum(0)
    assert by_kind[0] == 0
    # Weights 0.1 and 0.9, two of sixteen drawn without replacement.
    assert 5 < by_kind[2] / by_kind[1] < 12


def noise(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    return rng.gumbel(size=count).astype(np.float32)


def asked(job: DecodeJob) -> tuple[list[NDArray[np.bool_]], NDArray[np.int64]]:
    """What each pass had to draw, and the answer, from logits that depend on the tokens."""
    unknowns = []
    decoding = decode(job)
    ask = next(decoding)
    while True:
        unknowns.append(ask.unknown)
        logits = np.random.default_rng(int(ask.tokens.sum())).normal(0, 2, (*ask.tokens.shape, 6))
        try:
            ask = decoding.send(logits.astype(np.float32))
        except StopIteration as stop:
            return unknowns, stop.value


def hole() -> NDArray[np.int64]:
    tokens = np.arange(64, dtype=np.int64).reshape(8, 8) % CODES
    tokens[2:6, 2:6] = CODES
    return tokens


@given(st.integers(0, 6), st.integers(1, 5), st.integers(0, 99))
def test_more_passes_come_after_those_of_the_schedule_and_change_nothing_outside(
    more: int, steps: int, seed: int
) -> None:
    plain, _ = asked(DecodeJob(hole(), CODES, steps=steps, noise=SeededNoise(seed)))
    job = DecodeJob(hole(), CODES, steps=steps, more=more, noise=SeededNoise(seed))
    unknowns, answer = asked(job)
    assert len(unknowns) == steps + more
    np.testing.assert_array_equal(unknowns[:steps], plain)
    inside = hole() == CODES
    for unknown in unknowns[steps:]:
        assert unknown.sum() == 2
        assert not (unknown & ~inside).any()
    np.testing.assert_array_equal(answer[~inside], hole()[~inside])
    assert (answer < CODES).all()


@given(st.integers(2, 50), st.floats(0.0, 12.0))
def test_of_evenly_likely_codes_each_suits_and_one_far_less_likely_does_not(
    codes: int, gap: float
) -> None:
    logits = np.zeros((codes, codes), np.float32)
    logits[:, 0] = -gap
    p = np.exp(logits[0].astype(np.float64))
    p /= p.sum()
    entropy = -(p * np.log(p)).sum()
    kept = suits(logits, np.arange(codes))
    assert kept[1:].all()
    surprise = -np.log(p[0])
    if abs(surprise - entropy - MARGIN) > 1e-3:
        assert kept[0] == (surprise < entropy + MARGIN)


def test_codes_that_are_ruled_out_never_suit() -> None:
    logits = np.array([[0.0, 0.0, -np.inf]] * 2, np.float32)
    assert suits(logits, np.array([0, 2])).tolist() == [True, False]


def test_what_suits_its_surroundings_is_put_back() -> None:
    job = DecodeJob(hole(), CODES, steps=2, more=4, noise=SeededNoise(1))
    plain = DecodeJob(hole(), CODES, steps=2, noise=SeededNoise(1))
    flat = np.zeros((8, 8, CODES), np.float32)
    np.testing.assert_array_equal(answered(job, flat), answered(plain, flat))


def answered(job: DecodeJob, logits: NDArray[np.float32]) -> NDArray[np.int64]:
    decoding = decode(job)
    next(decoding)
    for _ in range(job.steps + job.more - 1):
        decoding.send(logits)
    with pytest.raises(StopIteration) as stop:
        decoding.send(logits)
    answer: NDArray[np.int64] = stop.value.value
    return answer


def test_nothing_to_make_is_nothing_to_make_again() -> None:
    job = DecodeJob(np.zeros((3, 3), np.int64), CODES, more=5)
    assert list(run(job)) == []
