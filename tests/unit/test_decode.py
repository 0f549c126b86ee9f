"""The decode loop: equal to the published code with its noise, and what always holds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.tiny_google import CODES, TinyGoogle, as_grid, golden

from maskgit_daemon.decode import DecodeJob, advance, begin, decode, masked_after
from maskgit_daemon.errors import RequestError
from maskgit_daemon.guidance.base import Guide
from maskgit_daemon.noise import GivenNoise, SeededNoise
from maskgit_daemon.orders import ORDERS, OUTWARD
from maskgit_daemon.schedules import SCHEDULES


@pytest.fixture(scope="module")
def network():
    return TinyGoogle()


def finish(run, network):
    """Drive a generator to its end; returns the answer and everything it asked."""
    asks, answer = [], None
    try:
        ask = next(run)
        while True:
            asks.append(ask)
            ask = run.send(network(ask.tokens))
    except StopIteration as stop:
        answer = stop.value
    return answer, asks


def hashed_network(codes):
    """A stand-in for a transformer in the invariants: any function of the tokens will do."""

    def logits(tokens):
        mixed = np.random.default_rng(tokens.ravel().astype(np.uint64))
        return mixed.normal(0, 3, (*tokens.shape, codes)).astype(np.float32)

    return logits


class TestAgainstThePublishedDecoder:
    @pytest.mark.parametrize("row", [0, 1])
    @pytest.mark.parametrize(("run", "steps", "start"), [("decA", 8, 0), ("decB", 12, 2)])
    def test_every_trace_of_the_decode_is_equal(self, network, run, steps, start, row):
        want = golden("google_tiny/golden.npz")
        trace = {name: want[f"{run}_{name}"] for name in ("step_input", "step_next", "mask_len")}
        label = int(want[f"{run}_input"][row, 0]) - CODES
        noise = GivenNoise(
            want[f"{run}_cat_gumbel"][:, row, 1:], want[f"{run}_choice_gumbel"][:, row, 1:], start
        )
        tokens = as_grid(want[f"{run}_input"][row])
        job = DecodeJob(tokens, CODES, steps=steps, start_step=start, noise=noise)
        state = begin(job)
        for s in range(steps - start):
            assert np.array_equal(state.tokens, as_grid(trace["step_input"][s, row]))
            unknown = np.count_nonzero(state.tokens == CODES)
            state = advance(job, state, network(state.tokens, label))
            assert np.array_equal(state.sampled, as_grid(want[f"{run}_seqs"][row, start + s]))
            ratio = np.float32(start + s + 1) / np.float32(steps)
            count = masked_after("cosine", ratio, state.at_start, unknown)
            assert count == trace["mask_len"][s, row]
            heat = np.float32(4.5) * (1 - ratio)
            assert heat == pytest.approx(want[f"{run}_choice_temp"][s], abs=1e-6)
            confidence = want[f"{run}_confidence"][s, row, 1:]
            assert np.array_equal(np.isfinite(state.confidence), np.isfinite(confidence))
            finite = np.isfinite(confidence)
            assert np.abs(state.confidence[finite] - confidence[finite]).max() < 2e-4
            if s + 1 < steps - start:
                assert np.array_equal(state.tokens, as_grid(trace["step_next"][s, row]))

    @pytest.mark.parametrize("row", [0, 1])
    def test_the_generator_returns_the_last_sample(self, network, row):
        want = golden("google_tiny/golden.npz")
        label = int(want["decA_input"][row, 0]) - CODES
        noise = GivenNoise(
            want["decA_cat_gumbel"][:, row, 1:], want["decA_choice_gumbel"][:, row, 1:]
        )
        job = DecodeJob(as_grid(want["decA_input"][row]), CODES, noise=noise)
        answer, asks = finish(decode(job), lambda tokens: network(tokens, label))
        assert np.array_equal(answer, as_grid(want["decA_seqs"][row, -1]))
        assert [(ask.step, ask.steps) for ask in asks] == [(s, 8) for s in range(8)]
        assert asks[0].sampled is None
        for s in range(1, 8):
            assert np.array_equal(asks[s].sampled, as_grid(want["decA_seqs"][row, s - 1]))


@st.composite
def jobs(draw):
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    codes = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tokens = rng.integers(0, codes, (height, width))
    tokens[rng.random((height, width)) < draw(st.floats(0, 1))] = codes
    steps = draw(st.integers(1, 12))
    return DecodeJob(
        tokens,
        codes,
        steps=steps,
        start_step=draw(st.integers(0, steps - 1)),
        schedule=draw(st.sampled_from(sorted(SCHEDULES))),
        order=draw(st.sampled_from(ORDERS)),
        temperature=draw(st.sampled_from([0.0, 0.5, 1.0, 2.0])),
        choice_temperature=draw(st.sampled_from([0.0, 4.5])),
        noise=SeededNoise(draw(st.integers(0, 2**63 - 1)), draw(st.integers(0, 15))),
    )


class TestWhatAlwaysHolds:
    @given(job=jobs())
    @settings(max_examples=60, deadline=None)
    def test_known_tokens_stay_masked_ones_fall_and_all_end_as_codes(self, job):
        answer, asks = finish(decode(job), hashed_network(job.codes))
        known = job.tokens != job.codes
        for tokens in [answer, *(ask.tokens for ask in asks)]:
            assert np.array_equal(tokens[known], job.tokens[known])
        counts = [np.count_nonzero(ask.unknown) for ask in asks]
        # A single masked token stays so until the last pass, as in the published loop.
        assert all(after < max(before, 2) for before, after in pairwise(counts))
        assert ((answer >= 0) & (answer < job.codes)).all()
        assert len(asks) == (0 if known.all() else job.steps - job.start_step)

    @given(job=jobs(), others=st.lists(jobs(), max_size=3))
    @settings(max_examples=30, deadline=None)
    def test_a_job_ends_the_same_whatever_runs_beside_it(self, job, others):
        alone, _ = finish(decode(job), hashed_network(job.codes))
        runs = [(j, decode(j)) for j in [*others, job]]
        asks = {i: next(run, None) for i, (_, run) in enumerate(runs)}
        answers = {}
        while any(ask is not None for ask in asks.values()):
            for i, (j, run) in enumerate(runs):
                if asks[i] is None:
                    continue
                try:
                    asks[i] = run.send(hashed_network(j.codes)(asks[i].tokens))
                except StopIteration as stop:
                    answers[i], asks[i] = stop.value, None
        together = answers.get(len(others), job.tokens)
        assert np.array_equal(together, alone)

    def test_temperature_zero_takes_the_likeliest_code(self):
        tokens = np.full((4, 4), 9, np.int64)
        job = DecodeJob(tokens, 9, steps=1, temperature=0.0)
        network = hashed_network(9)
        answer, _ = finish(decode(job), network)
        assert np.array_equal(answer, network(tokens).argmax(-1))

    def test_a_draw_follows_the_softmax_of_the_logits(self):
        share = np.array([0.5, 0.3, 0.15, 0.05])
        logits = np.broadcast_to(np.log(share), (64, 64, 4)).astype(np.float32)
        job = DecodeJob(np.full((64, 64), 4, np.int64), 4, steps=1, noise=SeededNoise(3))
        answer, _ = finish(decode(job), lambda tokens: logits)
        assert np.bincount(answer.ravel()) / 4096 == pytest.approx(share, abs=0.03)

    @pytest.mark.parametrize("least", [0.02, 0.5])
    def test_what_is_far_less_likely_than_the_likeliest_is_never_drawn(self, least):
        share = np.array([0.5, 0.3, 0.15, 0.045, 0.005])
        logits = np.broadcast_to(np.log(share), (64, 64, 5)).astype(np.float32)
        job = DecodeJob(
            np.full((64, 64), 5, np.int64), 5, steps=1, min_p=least, noise=SeededNoise(3)
        )
        answer, _ = finish(decode(job), lambda tokens: logits)
        kept = share >= least * 0.5
        counts = np.bincount(answer.ravel(), minlength=5)
        assert (counts > 0).tolist() == kept.tolist()
        assert counts[kept] / 4096 == pytest.approx(share[kept] / share[kept].sum(), abs=0.03)

    def test_halton_order_makes_the_first_cells_of_the_order_known_first(self):
        job = DecodeJob(np.full((8, 8), 5, np.int64), 5, order="halton")
        _, asks = finish(decode(job), hashed_network(5))
        order = golden("halton_tiny/golden.npz")["halton_order_8"]
        for ask in asks[1:]:
            placed = np.count_nonzero(~ask.unknown)
            assert {tuple(cell) for cell in np.argwhere(~ask.unknown).tolist()} == {
                tuple(cell) for cell in order[:placed].tolist()
            }

    def test_outward_order_lets_what_is_known_grow(self):
        tokens = np.full((8, 16), 40, np.int64)
        tokens[:, 0] = 1

        def disorder(order):
            """Known cells that lie farther out than an unknown one, over all passes."""
            job = DecodeJob(tokens, 40, order=order, choice_temperature=0.5)
            _, asks = finish(decode(job), hashed_network(40))
            assert all(0 < np.count_nonzero(ask.unknown) < 120 for ask in asks[1:])
            columns = np.arange(16)[None, :]
            return sum(
                np.count_nonzero(
                    ~ask.unknown & (columns > np.where(ask.unknown, columns, 99).min() + 4)
                )
                for ask in asks
            )

        assert disorder("outward") == 0
        assert disorder("confidence") > 50

    def test_outward_counts_from_what_the_guide_holds(self):
        class Holds(Guide):
            def hold(self, tokens, codes):
                return np.where(np.arange(8)[None, :] < 2, 3, tokens)

        job = DecodeJob(np.full((4, 8), 9, np.int64), 9, order="outward", guide=Holds())
        assert np.array_equal(begin(job).cost.reshape(4, 8)[0, 2:], OUTWARD * np.arange(1, 7))


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"tokens": np.zeros((2, 2), np.int32)}, "int64"),
            ({"tokens": np.zeros(4, np.int64)}, "height × width"),
            ({"tokens": np.full((2, 2), 10, np.int64)}, "0 … 9"),
            ({"tokens": np.full((2, 2), -1, np.int64)}, "0 … 9"),
            ({"steps": 0}, "Step"),
            ({"start_step": 8}, "Step 8 of 8"),
            ({"order": "spiral"}, "confidence, outward, halton, random"),
        ],
    )
    def test_in_one_sentence(self, change, word):
        with pytest.raises(RequestError, match=word):
            DecodeJob(**{"tokens": np.full((2, 2), 9, np.int64), "codes": 9, **change})
