"""The decode loop of MaskGIT for one job, in plain numpy: logits in, tokens out, step by step.

Section 3.2 of MaskGIT (arXiv 2202.04200).  At step t of T every unknown token is drawn from the
model's logits, the drawn ones are ranked by log-probability plus noise, and of the n₀ that were
unknown at the start ⌊n₀·γ((t+1)/T)⌋ of the lowest rank are masked again.  With equal noise the
result equals the published code's token for token, so the schedule runs in float32.

The loop is a generator, one a job: the engine collects what many jobs ask, makes one forward pass
and sends each job its own row of logits.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import RequestError
from maskgit_daemon.guidance.base import Guide, View
from maskgit_daemon.noise import Noise, SeededNoise
from maskgit_daemon.orders import ORDERS, halton_ranks, outward_cost
from maskgit_daemon.remask import doubtful, log_softmax_at, suits
from maskgit_daemon.schedules import masked_share

Tokens = NDArray[np.int64]
Logits = NDArray[np.float32]

NEUTRAL = Guide()
SEED_ZERO = SeededNoise(0)


@dataclass(frozen=True, eq=False)
class DecodeJob:
    """One grid of tokens to complete.

    ``tokens`` (h,w) int64, ``codes`` (K, the mask id) where unknown.  ``temperature`` scales the
    draw's noise, 0 takes the likeliest; ``min_p`` leaves out what is, at that temperature, less
    likely than that share of the likeliest (arXiv 2407.01082); ``choice_temperature`` scales the
    ranking's noise and falls to 0 over the steps.  ``order``: one of
    :data:`~maskgit_daemon.orders.ORDERS`.  ``start_step``: the schedule is entered there (the paper
    edits from step 2 of 12), so ``steps − start_step`` passes are made, and then ``more`` that take
    back and redraw a few (:mod:`maskgit_daemon.remask`).
    Raises :class:`RequestError` if steps, order or token ids make no sense.
    """

    tokens: Tokens
    codes: int
    steps: int = 8
    schedule: str = "cosine"
    order: str = "confidence"
    temperature: float = 1.0
    min_p: float = 0.0
    choice_temperature: float = 4.5
    start_step: int = 0
    more: int = 0
    guide: Guide | None = None
    noise: Noise = SEED_ZERO

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.tokens.dtype != np.int64:
            raise RequestError("The tokens must be an int64 grid of height × width.")
        if self.tokens.size and not 0 <= self.tokens.min() <= self.tokens.max() <= self.codes:
            raise RequestError(f"A token lies outside 0 … {self.codes}; give codes or the mask id.")
        if not 0 <= self.start_step < self.steps:
            raise RequestError(f"Step {self.start_step} of {self.steps} cannot be the first one.")
        if not 0.0 <= self.min_p <= 1.0:
            raise RequestError(f"The min_p must be a number from 0 to 1, not {self.min_p!r}.")
        if self.order not in ORDERS:
            raise RequestError(
                f"There is no order {self.order!r}; choose one of {', '.join(ORDERS)}."
            )


@dataclass(frozen=True, eq=False)
class State:
    """Where a job stands before the forward pass of ``step``.

    ``tokens`` (h,w) with the mask id where unknown; ``at_start``: how many were unknown at first;
    ``sampled`` (h,w): the last pass's complete sample; ``log_probability`` (h·w,) float32: of each
    token when it was last drawn, 0 where it was given; ``confidence`` (h·w,) float32: what the last
    ranking went by, +inf where known; ``cost`` (h·w,) float32: what the order takes from each
    cell's confidence; ``notes``: the guide's, from the first pass.
    """

    tokens: Tokens
    step: int
    at_start: int
    sampled: Tokens | None
    log_probability: NDArray[np.float32]
    cost: NDArray[np.float32]
    confidence: NDArray[np.float32] | None = None
    notes: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Ask:
    """What a job wants to know from the network.

    ``tokens`` (h,w) int64 and ``guidance_tokens`` (h,w) int64 or None are the network's input;
    ``unknown`` (h,w) bool; this is pass ``step`` (from 0) of ``steps``, which the passes of
    ``more`` go beyond; ``sampled`` (h,w) int64 is the best complete guess so far, None before the
    first pass; ``state`` the loop's own.
    """

    tokens: Tokens
    guidance_tokens: Tokens | None
    unknown: NDArray[np.bool_]
    step: int
    steps: int
    sampled: Tokens | None
    state: State


def decode(job: DecodeJob) -> Generator[Ask, Logits, Tokens]:
    """Yield what to ask the network, take its logits (h,w,K) float32, return (h,w) int64 tokens.

    A job with nothing unknown asks nothing.  Known tokens never change.
    """
    state = yield from run(job)
    return state.tokens


def run(job: DecodeJob) -> Generator[Ask, Logits, State]:
    """As :func:`decode`, but return the final state, whose tokens are the answer."""
    state = begin(job)
    made = np.flatnonzero(state.tokens == job.codes)
    if not len(made):
        return state
    while state.step < job.steps:
        state = advance(job, state, (yield _ask(job, state, unsure(job, state))))
    while state.step < job.steps + job.more:
        state = take_back(job, state, made)
        state = reconsider(job, state, (yield _ask(job, state, np.empty(0, np.int64))))
    assert state.sampled is not None
    return replace(state, tokens=state.sampled)


def _ask(job: DecodeJob, state: State, unsure: NDArray[np.int64]) -> Ask:
    guide = job.guide or NEUTRAL
    view = view_of(job, state)
    return Ask(
        tokens=guide.show(view, unsure),
        guidance_tokens=guide.beside(view),
        unknown=state.tokens == job.codes,
        step=state.step - job.start_step,
        steps=job.steps - job.start_step,
        sampled=state.sampled,
        state=state,
    )


def begin(job: DecodeJob) -> State:
    """The state before the first pass, with what the guide holds already set."""
    tokens = (job.guide or NEUTRAL).hold(job.tokens, job.codes)
    unknown = tokens.reshape(-1) == job.codes
    far = outward_cost(tokens == job.codes) if job.order == "outward" else np.zeros(tokens.size)
    return State(
        tokens=tokens,
        step=job.start_step,
        at_start=int(np.count_nonzero(unknown)),
        sampled=None,
        log_probability=np.where(unknown, -np.log(np.float32(job.codes)), np.float32(0)),
        cost=far.astype(np.float32),
    )


def view_of(job: DecodeJob, state: State) -> View:
    """What the guide may see of ``state``; the passes beyond the schedule look like its last."""
    cells = np.flatnonzero(state.tokens == job.codes)
    step = min(state.step, job.steps - 1)
    return View(state.tokens, cells, job.codes, step, job.steps, state.sampled, state.notes)


def unsure(job: DecodeJob, state: State) -> NDArray[np.int64]:
    """The cells to be masked after this pass, where the guide wants them chosen before it.

    They are ranked by the pass before (evenly likely before the first), and the schedule stands one
    step back, at t/T.  Empty for every other guide.
    """
    if not (job.guide or NEUTRAL).CHOOSES_FIRST:
        return np.empty(0, np.int64)
    cells = np.flatnonzero(state.tokens == job.codes)
    ratio = _ratio(state.step, job.steps)
    return lowest(cells, *_ranking(job, state, cells, state.log_probability[cells], ratio))


def advance(job: DecodeJob, state: State, logits: Logits) -> State:
    """Draw the unknown tokens from ``logits`` (h,w,K), rank them and mask the lowest again."""
    cells = np.flatnonzero(state.tokens == job.codes)
    drawn = draw_all(job, state, logits)
    if (job.guide or NEUTRAL).CHOOSES_FIRST:
        basis, ratio = state.log_probability[cells], _ratio(state.step, job.steps)
    else:
        basis, ratio = drawn.log_probability[cells], _ratio(state.step + 1, job.steps)
    scores, count = _ranking(job, state, cells, basis, ratio)
    confidence = np.full(state.tokens.size, np.inf, np.float32)
    confidence[cells] = scores
    tokens = drawn.tokens.copy()
    tokens.reshape(-1)[lowest(cells, scores, count)] = job.codes
    return replace(drawn, tokens=tokens, confidence=confidence)


def draw_all(job: DecodeJob, state: State, logits: Logits) -> State:
    """Draw the unknown tokens from ``logits`` (h,w,K) and keep them all."""
    view, own, guided = _steered(job, state, logits)
    drawn = draw(guided, job, state.step, view.cells)
    placed = _placed(job, state, view.cells, drawn, own, guided)
    return replace(placed, notes=view.notes)


def _steered(job: DecodeJob, state: State, logits: Logits) -> tuple[View, Logits, Logits]:
    """What the guide saw, and the logits (n,K) of the unknown cells before and after it."""
    view = view_of(job, state)
    own = logits.reshape(-1, logits.shape[-1])[view.cells, : job.codes]
    guide = job.guide or NEUTRAL
    if state.step == job.start_step:
        view = replace(view, notes=guide.note(view, own))
    return view, own, guide.steer(view, own)


def _placed(
    job: DecodeJob,
    state: State,
    cells: NDArray[np.int64],
    codes: Tokens,
    own: Logits,
    guided: Logits,
) -> State:
    """The state after a pass that put ``codes`` (n,) on ``cells`` (n,)."""
    ranked = guided if (job.guide or NEUTRAL).RANKS_GUIDED else own
    log_probability = state.log_probability.copy()
    log_probability[cells] = log_softmax_at(ranked, codes)
    sampled = state.tokens.copy()
    sampled.reshape(-1)[cells] = codes
    return replace(
        state,
        tokens=sampled,
        step=state.step + 1,
        sampled=sampled,
        log_probability=log_probability,
    )


def take_back(job: DecodeJob, state: State, made: NDArray[np.int64]) -> State:
    """Mask a few doubtful ones of the complete sample's own cells ``made`` (n,) again."""
    assert state.sampled is not None
    cells = doubtful(made, state.log_probability[made], job.noise.choice(state.step, made))
    tokens = state.sampled.copy()
    tokens.reshape(-1)[cells] = job.codes
    return replace(state, tokens=tokens)


def reconsider(job: DecodeJob, state: State, logits: Logits) -> State:
    """Draw the tokens taken back anew, but put those back that suit their surroundings."""
    assert state.sampled is not None
    view, own, guided = _steered(job, state, logits)
    before = state.sampled.reshape(-1)[view.cells]
    drawn = draw(guided, job, state.step, view.cells)
    codes = np.where(suits(guided, before), before, drawn)
    return _placed(job, state, view.cells, codes, own, guided)


def draw(logits: Logits, job: DecodeJob, step: int, cells: NDArray[np.int64]) -> Tokens:
    """(n,) codes: argmax of logits (n,K) + temperature · Gumbel, a draw from their softmax."""
    scores = logits
    if job.min_p > 0:
        least = logits.max(-1, keepdims=True) + np.float32(job.temperature * math.log(job.min_p))
        scores = np.where(logits < least, np.float32(-np.inf), logits)
    if job.temperature != 0:
        noise = job.noise.draw(step, cells, job.codes)
        scores = scores + (noise if job.temperature == 1 else noise * np.float32(job.temperature))
    drawn: Tokens = scores.argmax(axis=-1)
    return drawn


def lowest(cells: NDArray[np.int64], scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """The cells whose score lies strictly below the ``count``-th smallest, counted from 0.

    All of them where ``count`` reaches their number: the grid's known cells stand at +inf.
    """
    if count >= len(cells):
        return cells
    kept: NDArray[np.int64] = cells[scores < np.partition(scores, count)[count]]
    return kept


def masked_after(schedule: str, ratio: np.float32, at_start: int, unknown: int) -> int:
    """How many tokens to mask again: ⌊n₀ γ(ratio)⌋, at least 1, fewer than are unknown now."""
    wanted = int(np.floor(np.float32(at_start) * masked_share(schedule, float(ratio), at_start)))
    return max(1, min(unknown - 1, wanted))


def _ranking(
    job: DecodeJob,
    state: State,
    cells: NDArray[np.int64],
    log_probability: NDArray[np.float32],
    ratio: np.float32,
) -> tuple[NDArray[np.float32], int]:
    """Each cell's score and how many of the lowest are masked again."""
    if job.order == "halton":
        scores = -halton_ranks(*state.tokens.shape)[cells].astype(np.float32)
    elif job.order == "random":
        scores = job.noise.order(cells)
    else:
        heat = np.float32(job.choice_temperature) * (np.float32(1) - ratio)
        scores = log_probability + heat * job.noise.choice(state.step, cells) - state.cost[cells]
    return scores, masked_after(job.schedule, ratio, state.at_start, len(cells))


def _ratio(step: int, steps: int) -> np.float32:
    return np.float32(step) / np.float32(steps)
