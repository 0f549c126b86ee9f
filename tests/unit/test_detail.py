"""Fine detail by example: what the tokens cannot say is taken from the known pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgit_daemon.detail import LUMA, SIDE, SIGMA, add_detail, blur
from maskgit_daemon.frame import Frame
from maskgit_daemon.patch import Lattice, Rect

HOLE = np.s_[32:64, 40:72]


def frame_of(colour: np.ndarray, known: np.ndarray) -> Frame:
    cells = np.zeros((1, 1), bool)
    lattice = Lattice(0, 1, 0, 1)
    selected = (known == 0).astype(np.float32)
    tops, lefts = np.nonzero(selected)
    bounds = Rect(int(lefts.min()), int(tops.min()), int(np.ptp(lefts)) + 1, int(np.ptp(tops)) + 1)
    return Frame(colour, known, selected, cells, cells, lattice, lattice, bounds)


def textured(seed: int = 0) -> tuple[np.ndarray, Frame]:
    """A grainy picture (96,112,3), and its frame with a hole in the middle."""
    rng = np.random.default_rng(seed)
    colour = 0.5 + 0.1 * rng.standard_normal((96, 112, 1), np.float32) * np.ones(3, np.float32)
    known = np.ones(colour.shape[:2], np.float32)
    known[HOLE] = 0
    return colour, frame_of(colour, known)


def contrast(picture: np.ndarray) -> float:
    return float(np.square((picture - blur(picture, SIGMA)) @ LUMA)[HOLE].mean() ** 0.5)


def test_a_smooth_fill_in_a_grainy_picture_gets_the_grain_of_its_surroundings() -> None:
    colour, frame = textured()
    # A decoder that draws a tenth of the contrast, everywhere.
    generated = 0.5 + 0.1 * (colour - 0.5)
    picture = np.where(frame.known[..., None] > 0, colour, generated)
    detailed = add_detail(picture, generated, frame)
    assert contrast(picture) < 0.15 * contrast(colour)
    assert 0.85 * contrast(colour) < contrast(detailed) < 1.15 * contrast(colour)


def test_a_fill_that_the_decoder_draws_flat_stays_flatter_than_grainy_examples() -> None:
    colour, frame = textured()
    generated = 0.5 + 0.5 * (colour - 0.5)
    generated[HOLE] = 0.5
    detailed = add_detail(np.where(frame.known[..., None] > 0, colour, generated), generated, frame)
    assert contrast(detailed) < 0.8 * contrast(colour)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), amount=st.floats(0, 1))
def test_known_pixels_stay_and_the_result_is_a_picture(seed: int, amount: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(2, 12, 2) * 8)
    colour = rng.random((height, width, 3), np.float32)
    known = (rng.random((height // 8, width // 8)) < 0.7).astype(np.float32)
    known[0, 0] = 0
    known = np.kron(known, np.ones((8, 8), np.float32))
    frame = frame_of(colour, known)
    generated = rng.normal(0.5, 0.3, colour.shape).astype(np.float32)
    out = add_detail(colour, generated, frame, amount)
    np.testing.assert_array_equal(out[known > 0], colour[known > 0])
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize("amount", [0.0, -1.0])
def test_none_of_it_is_exactly_none(amount: float) -> None:
    colour, frame = textured()
    assert add_detail(colour, 0.9 * colour, frame, amount) is colour


def test_without_enough_examples_the_picture_stays_as_it_is() -> None:
    colour = np.random.default_rng(0).random((32, 32, 3), np.float32)
    known = np.zeros((32, 32), np.float32)
    known[:, : SIDE - 1] = 1
    assert add_detail(colour, colour, frame_of(colour, known)) is colour


def test_the_choice_of_examples_does_not_depend_on_how_sums_are_ordered() -> None:
    """Whole numbers below 2²⁴ are exact in float32, so every machine finds the same nearest."""
    from maskgit_daemon.detail import _describe, _looks, _sources, _whole

    colour, frame = textured()
    extreme = np.where(colour > 0.5, np.float32(4), np.float32(-4))
    looks = _looks(extreme, np.ones(colour.shape[:2], np.float32))
    found = _describe(looks, _sources(_whole(frame.known > 0)))
    assert np.array_equal(found, np.rint(found))
    assert 3 * np.square(found.astype(np.float64)).sum(1).max() < 2**24


def test_a_blur_keeps_the_mean_of_a_constant_and_spreads_a_point_evenly() -> None:
    point = np.zeros((41, 41), np.float32)
    point[20, 20] = 1
    spread = blur(point, 3.0)
    np.testing.assert_allclose(spread, spread.T, atol=1e-8)
    np.testing.assert_allclose(spread.sum(), 1.0, rtol=1e-5)
    rows = np.arange(41) - 20
    assert abs(float((spread.sum(1) * rows**2).sum()) - 9.0) < 0.8
    np.testing.assert_allclose(blur(np.full((9, 7, 3), 0.25, np.float32), 2.0), 0.25, rtol=1e-6)


def test_a_flat_fill_does_not_get_one_example_over_and_over() -> None:
    """The same patch at every lattice point would show as peaks at its period in the spectrum."""
    colour, frame = textured()
    generated = 0.5 + 0.2 * (colour - 0.5)
    generated[HOLE] = 0.5
    picture = np.where(frame.known[..., None] > 0, colour, generated)
    fine = (add_detail(picture, generated, frame) @ LUMA)[HOLE]
    power = np.abs(np.fft.fft2(fine - fine.mean())) ** 2
    periodic = power[::8, ::8].sum() - power[0, 0]
    assert periodic < 0.15 * power.sum()


@pytest.mark.parametrize("hole", [np.s_[0:8, 0:8], np.s_[40:41, 55:56], np.s_[88:96, 104:112]])
def test_the_smallest_holes_anywhere_are_served(hole: tuple[slice, slice]) -> None:
    """Few targets may have no neighbour whose example could go on."""
    colour, _ = textured()
    known = np.ones(colour.shape[:2], np.float32)
    known[hole] = 0
    frame = frame_of(colour, known)
    out = add_detail(colour, 0.5 + 0.1 * (colour - 0.5), frame)
    assert not np.array_equal(out[hole], colour[hole])
    np.testing.assert_array_equal(out[known > 0], colour[known > 0])
