"""MaskGIT-Edit's methods: equal to their published code with its noise."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.tiny_google import CODES, TinyGoogle, as_grid, golden

from maskgit_daemon.decode import DecodeJob, advance, begin, masked_after, unsure, view_of
from maskgit_daemon.guidance import Painted
from maskgit_daemon.guidance.edit_context import ContextGuide
from maskgit_daemon.guidance.edit_self import (
    SelfGuide,
    code_l2_kernel,
    identity_kernel,
    reweight,
    sharpness,
)
from maskgit_daemon.guidance.iterative import IterativeGuide
from maskgit_daemon.noise import GivenNoise


@pytest.fixture(scope="module")
def network():
    return TinyGoogle()


@pytest.fixture(scope="module")
def want():
    return golden("maskgit_edit/golden.npz")


def strokes(want, row):
    """The golden's guidance tokens, on every cell of the grid."""
    tokens = as_grid(want["guidance_tokens"][row])
    everywhere = np.ones((8, 8), bool)
    return Painted(tokens, np.zeros((8, 8, 3), np.float32), everywhere, tokens)


def replay(want, run, row, guide, network):
    """Run a golden decode; check every trace of it on the way."""
    steps, start = (int(n) for n in want[f"{run}_T_start"])
    label = int(want["input_tokens"][row, 0]) - CODES
    noise = GivenNoise(
        want[f"noise_s{start}_cat_gumbel"][:, row, 1:],
        want[f"noise_s{start}_choice_gumbel"][:, row, 1:],
        start,
    )
    tokens = as_grid(want["input_tokens"][row])
    job = DecodeJob(tokens, CODES, steps=steps, start_step=start, guide=guide, noise=noise)
    state = begin(job)
    for s in range(steps - start):
        assert np.array_equal(state.tokens, as_grid(want[f"{run}_step_input"][s, row]))
        view, chosen = view_of(job, state), unsure(job, state)
        shown = guide.show(view, chosen)
        if f"{run}_guided_ids" in want:
            assert np.array_equal(shown, as_grid(want[f"{run}_guided_ids"][s, row]))
            masking = np.flatnonzero(want[f"{run}_masking"][s, row, 1:])
            assert np.array_equal(chosen, masking)
        logits = network(shown, label, guide.beside(view))
        if s == 0:
            first = want[f"{run}_step0_logits"][row, 1:][view.cells]
            guided = guide.steer(view, logits.reshape(-1, CODES)[view.cells])
            assert np.abs(guided - first).max() < 1e-3
        state = advance(job, state, logits)
        assert np.array_equal(state.sampled, as_grid(want[f"{run}_seqs"][row, start + s]))
        ahead = start + s + (0 if guide.CHOOSES_FIRST else 1)
        ratio = np.float32(ahead) / np.float32(steps)
        count = masked_after("cosine", ratio, state.at_start, len(view.cells))
        assert count == want[f"{run}_mask_len"][s, row]
        confidence = want[f"{run}_confidence"][s, row, 1:]
        finite = np.isfinite(confidence)
        assert np.array_equal(np.isfinite(state.confidence), finite)
        assert np.abs(state.confidence[finite] - confidence[finite]).max() < 2e-4
        if s + 1 < steps - start or guide.CHOOSES_FIRST:
            assert np.array_equal(state.tokens, as_grid(want[f"{run}_step_next"][s, row]))


class TestSelfGuidance:
    def test_energies_sharpness_and_weights_are_the_published_ones(self, want):
        kernels = {
            "eye": identity_kernel(12),
            "l2": code_l2_kernel(want["energy_codebook"]),
        }
        for name, kernel in kernels.items():
            assert kernel == pytest.approx(want[f"energy_{name}"], abs=2e-6)
            weights = reweight(
                want[f"energy_{name}"],
                want["reweight_guidance"][:, 1:],
                want["reweight_confidence"][:, :, 1:],
            )
            assert weights == pytest.approx(want[f"reweight_{name}"][:, :, 1:], rel=1e-5, abs=1e-20)
        assert sharpness(want["rescale_in"]) == pytest.approx(want["rescale_out"], rel=1e-5)

    @pytest.mark.parametrize("row", [0, 1])
    @pytest.mark.parametrize(
        ("run", "confidence"),
        [
            ("self_eye_c1", 1.0),
            ("self_eye_c05_floatconf", 0.5),
            ("self_l2_c1", 1.0),
            ("self_l2_c085_floatconf", 0.85),
        ],
    )
    def test_a_decode_with_the_confidence_that_was_meant(self, want, network, run, confidence, row):
        kernel = identity_kernel(CODES) if "eye" in run else want["kernel_l2_tiny"]
        replay(want, run, row, SelfGuide(strokes(want, row), kernel, confidence), network)

    @pytest.mark.parametrize("row", [0, 1])
    def test_the_published_program_cut_085_off_to_0(self, want, network, row):
        meant = want["full_like_int_of"]
        assert np.array_equal(meant.astype(np.int32), want["full_like_int_gives"])
        published = float(np.int32(0.85))
        guide = SelfGuide(strokes(want, row), want["kernel_l2_tiny"], published)
        replay(want, "self_l2_c085", row, guide, network)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("run", ["context_s2", "context_s0"])
def test_context_guidance(want, network, run, row):
    replay(want, run, row, ContextGuide(strokes(want, row)), network)


@pytest.mark.parametrize("row", [0, 1])
def test_iterative_guidance(want, network, row):
    replay(want, "iterate", row, IterativeGuide(strokes(want, row)), network)


@pytest.mark.parametrize("method", ["self", "context", "iterative"])
def test_tokens_outside_the_footprint_are_not_guided(method):
    """A transparent cell is unknown, but nobody painted there."""
    footprint = np.zeros((3, 3), bool)
    footprint[0] = True
    painted = Painted(
        np.full((3, 3), 2), np.zeros((3, 3, 3), np.float32), footprint, np.zeros((3, 3), int)
    )
    guide = {
        "self": SelfGuide(painted, identity_kernel(5), 1.0),
        "context": ContextGuide(painted),
        "iterative": IterativeGuide(painted),
    }[method]
    job = DecodeJob(np.full((3, 3), 5), 5, guide=guide)
    view = view_of(job, begin(job))
    logits = np.ones((9, 5), np.float32)
    shown = guide.show(view, np.arange(9))
    assert (shown[1:] == 5).all()
    assert np.array_equal(guide.steer(view, logits)[3:], logits[3:])
    beside = guide.beside(view)
    assert beside is None or (beside[1:] == -1).all()
    assert {
        "self": (guide.steer(view, logits)[:3] != 1).any(),
        "context": (shown[0] == 2).all(),
        "iterative": beside is not None and (beside[0] == 2).all(),
    }[method]
