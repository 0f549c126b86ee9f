"""Our guidance methods: exact at both ends of the strength, monotone between, and refusals."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgit_daemon.decode import DecodeJob, advance, begin, view_of
from maskgit_daemon.errors import RequestError
from maskgit_daemon.guidance import METHODS, Painted, find_method, make_guide, may_change
from maskgit_daemon.guidance.experts import (
    CodeDistanceGuide,
    ColourGuide,
    code_distances,
    colour_distances,
)
from maskgit_daemon.guidance.local_colour import (
    LocalColourGuide,
    blur_twice,
    expected_colours,
    tilt,
)
from maskgit_daemon.guidance.release import ReleaseGuide, released
from maskgit_daemon.noise import SeededNoise

CODES = 24
OURS = [name for name, method in METHODS.items() if method.ours]


def bundle(**changes):
    """What the factories read of a bundle."""
    rng = np.random.default_rng(0)
    facts = {
        "name": "small",
        "codes": CODES,
        "codebook": rng.normal(size=(CODES, 6)).astype(np.float32),
        "code_colours": rng.random((CODES, 3)).astype(np.float32),
        "takes_guidance_tokens": False,
        "guidance_kernel": None,
    }
    return SimpleNamespace(**{**facts, **changes})


def paint(seed=0, height=8, width=10):
    rng = np.random.default_rng(seed)
    footprint = np.zeros((height, width), bool)
    footprint[1 : height - 1, 2 : width - 1] = True
    footprint &= rng.random((height, width)) < 0.9
    tokens = rng.integers(0, CODES, (height, width))
    return Painted(tokens, bundle().code_colours[tokens], footprint, tokens)


def start_of(painted):
    return np.where(painted.footprint, CODES, painted.known)


def logits_for(tokens):
    rng = np.random.default_rng(tokens.ravel().astype(np.uint64))
    return rng.normal(0, 3, (*tokens.shape, CODES)).astype(np.float32)


def run(painted, guide, seed=1):
    job = DecodeJob(start_of(painted), CODES, guide=guide, noise=SeededNoise(seed))
    state = begin(job)
    while state.step < job.steps:
        state = advance(job, state, logits_for(state.tokens))
    return state.sampled


class TestTheEndsOfTheStrength:
    @pytest.mark.parametrize("name", ["default", *OURS])
    def test_one_is_inpainting_bit_for_bit(self, name):
        painted = paint()
        guide = make_guide(name, bundle(), painted, 1.0, {})
        assert np.array_equal(run(painted, guide), run(painted, None))
        assert may_change(name, 1.0, 96) == 96

    @pytest.mark.parametrize("kind", [CodeDistanceGuide, ColourGuide])
    def test_a_pull_of_zero_changes_no_draw(self, kind):
        painted = paint()
        table = bundle().codebook if kind is CodeDistanceGuide else bundle().code_colours
        assert np.array_equal(run(painted, kind(painted, table, 0.0)), run(painted, None))

    @pytest.mark.parametrize("name", ["default", *(n for n in OURS if n != "none")])
    def test_near_zero_the_strokes_own_colours_come_out(self, name):
        painted = paint()
        options = {"release": 1.0} if name in ("default", "local-colour") else {}
        result = run(painted, make_guide(name, bundle(), painted, 1e-4, options))
        if name == "sdedit":
            result[released(painted.footprint, 1e-4)] = painted.tokens[
                released(painted.footprint, 1e-4)
            ]
        inside = painted.footprint
        off = bundle().code_colours[result[inside]] - painted.colours[inside]
        assert np.abs(off).max() < 1e-3

    @pytest.mark.parametrize("name", OURS)
    def test_zero_lets_nothing_change(self, name):
        assert may_change(name, 0.0, 96) == 0


class TestProductsOfExperts:
    @given(
        seed=st.integers(0, 1000),
        pulls=st.lists(st.floats(0, 1e4), min_size=2, max_size=2).map(sorted),
        kind=st.sampled_from([CodeDistanceGuide, ColourGuide]),
    )
    @settings(max_examples=60, deadline=None)
    def test_a_stronger_pull_never_raises_the_expected_distance(self, seed, pulls, kind):
        painted = paint(seed)
        tables = bundle()
        table = tables.codebook if kind is CodeDistanceGuide else tables.code_colours
        view = view_of(job := DecodeJob(start_of(painted), CODES), begin(job))
        own = logits_for(job.tokens).reshape(-1, CODES)[view.cells]
        if kind is CodeDistanceGuide:
            far = code_distances(table, painted.tokens.reshape(-1)[view.cells])
        else:
            far = colour_distances(table, painted.colours.reshape(-1, 3)[view.cells])
        expected = []
        for pull in pulls:
            guided = kind(painted, table, pull).steer(view, own).astype(np.float64)
            share = np.exp(guided - guided.max(-1, keepdims=True))
            expected.append((share * far).sum(-1) / share.sum(-1))
        assert (expected[1] <= expected[0] + 1e-5).all()

    def test_code_distance_is_zero_for_itself_and_one_on_average(self):
        distance = code_distances(bundle().codebook, np.arange(CODES))
        assert np.abs(np.diag(distance)).max() < 1e-5
        assert distance.mean() == pytest.approx(1.0, rel=1e-5)

    def test_the_given_logits_are_left_alone(self):
        painted = paint()
        view = view_of(job := DecodeJob(start_of(painted), CODES), begin(job))
        own = logits_for(job.tokens).reshape(-1, CODES)[view.cells]
        before = own.copy()
        for guide in (
            CodeDistanceGuide(painted, bundle().codebook, 3.0),
            ColourGuide(painted, bundle().code_colours, 3.0),
            LocalColourGuide(painted, bundle().code_colours, 0.5, 0.01),
        ):
            seen = replace(view, notes=guide.note(view, own))
            assert not np.array_equal(guide.steer(seen, own), before)
            assert np.array_equal(own, before)


class TestLocalColour:
    @given(seed=st.integers(0, 1000), tolerance=st.floats(0.003, 1.0))
    @settings(max_examples=40, deadline=None)
    def test_the_tilt_solves_its_equation(self, seed, tolerance):
        rng = np.random.default_rng(seed)
        colours = rng.random((CODES * 4, 3)).astype(np.float32)
        logits = rng.normal(0, 2, (5, CODES * 4)).astype(np.float32)
        target = rng.uniform(0.3, 0.7, (5, 3)).astype(np.float32)
        theta = tilt(logits, colours, target, tolerance)
        mean = expected_colours(logits + theta @ colours.T, colours)
        assert np.abs(mean - target + tolerance * theta).max() < 0.01

    def test_the_strength_moves_the_expected_colour_from_the_strokes_to_the_models(self):
        painted = paint()
        rng = np.random.default_rng(3)
        colours = rng.random((400, 3)).astype(np.float32)
        view = view_of(job := DecodeJob(np.where(painted.footprint, 400, 0), 400), begin(job))
        own = rng.normal(0, 2, (len(view.cells), 400)).astype(np.float32)
        stroke = painted.colours.reshape(-1, 3)[view.cells]
        free = expected_colours(own, colours)
        far = []
        for strength in np.linspace(0.05, 0.95, 10):
            guide = LocalColourGuide(painted, colours, strength, 0.01, 0.0)
            seen = replace(view, notes=guide.note(view, own))
            mean = expected_colours(guide.steer(seen, own), colours)
            far.append(np.linalg.norm(mean - stroke, axis=-1).mean())
        assert far == sorted(far)
        assert far[0] < 0.2 * np.linalg.norm(free - stroke, axis=-1).mean()

    def test_a_placed_token_that_is_too_light_asks_its_neighbours_to_be_darker(self):
        everywhere, grey = np.ones((7, 7), bool), np.full((7, 7, 3), 0.5, np.float32)
        tokens = np.full((7, 7), CODES)
        painted = Painted(tokens * 0, grey, everywhere, tokens * 0)
        tokens[3, 3] = CODES - 1
        colours = np.linspace(0, 1, CODES, dtype=np.float32)[:, None].repeat(3, 1)
        guide = LocalColourGuide(painted, colours, 0.5, 0.01)
        view = view_of(job := DecodeJob(tokens, CODES), begin(job))
        target = guide.targets(replace(view, notes=grey))[..., 0]
        assert target[3, 2] < target[3, 1] < 0.5
        assert target[2, 2] < 0.5
        assert target[0, 0] == pytest.approx(0.5)

    def test_the_blur_is_applied_twice_and_keeps_the_sum_inside(self):
        field = np.zeros((9, 9, 1), np.float32)
        field[4, 4] = 1
        assert blur_twice(field).sum() == pytest.approx(1.0)
        assert blur_twice(field)[4, 4, 0] == pytest.approx((6 / 16) ** 2)


class TestRelease:
    @given(
        seed=st.integers(0, 200),
        shares=st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
    )
    def test_a_larger_share_releases_the_same_tokens_and_more(self, seed, shares):
        footprint = paint(seed).footprint
        less, more = (released(footprint, share) for share in shares)
        assert (more | ~less).all()
        assert (footprint | ~more).all()

    @given(seed=st.integers(0, 200), strength=st.floats(0.01, 0.99))
    @settings(deadline=None)
    @pytest.mark.parametrize("name", ["sdedit", "local-colour"])
    def test_what_is_said_to_change_is_what_may_change(self, name, seed, strength):
        painted = paint(seed)
        guide = make_guide(name, bundle(), painted, strength, {})
        job = DecodeJob(start_of(painted), CODES, guide=guide)
        assert begin(job).at_start == may_change(name, strength, int(painted.footprint.sum()))

    def test_held_tokens_are_the_strokes(self):
        painted = paint()
        result = run(painted, ReleaseGuide(painted, 0.5))
        held = painted.footprint & ~released(painted.footprint, 0.5)
        assert np.array_equal(result[held], painted.tokens[held])
        assert (result != painted.tokens)[painted.footprint & ~held].any()


class TestWhatIsRefused:
    def test_an_unknown_method_names_the_known_ones(self):
        with pytest.raises(RequestError, match="sdedit"):
            find_method("magic")

    @pytest.mark.parametrize(
        ("name", "words"),
        [("iterative", "maskgit train iterative"), ("self-learned", "maskgit train guidance")],
    )
    def test_a_method_the_bundle_cannot_do(self, name, words):
        with pytest.raises(RequestError, match=words):
            make_guide(name, bundle(), paint(), 0.5, {})

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"pull": -1.0}, "pull"),
            ({"pull": float("nan")}, "pull"),
            ({"confidence": 0.5}, "takes no option"),
        ],
    )
    def test_an_option_that_is_unknown_or_out_of_range(self, options, words):
        with pytest.raises(RequestError, match=words):
            make_guide("colour", bundle(), paint(), 0.5, options)

    @pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
    def test_a_strength_out_of_range(self, strength):
        with pytest.raises(RequestError, match="strength"):
            make_guide("default", bundle(), paint(), strength, {})

    def test_strokes_of_another_size_or_not_a_number(self):
        good = paint()
        with pytest.raises(RequestError, match="selection"):
            Painted(good.tokens[1:], good.colours, good.footprint, good.known)
        with pytest.raises(RequestError, match="NaN"):
            Painted(good.tokens, good.colours * np.nan, good.footprint, good.known)
