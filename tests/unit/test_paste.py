"""Filling gaps and meeting the border."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgit_daemon.cutout import cut_patch
from maskgit_daemon.fill import extend
from maskgit_daemon.frame import Frame
from maskgit_daemon.paste import SOFTNESS, feathered, match_border, soften_border
from maskgit_daemon.patch import Lattice, Rect
from maskgit_daemon.request import RefineRequest


def frame_of(colour: np.ndarray, selected: np.ndarray) -> Frame:
    rows = np.flatnonzero(selected.any(1))
    columns = np.flatnonzero(selected.any(0))
    bounds = Rect(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    known = (selected == 0).astype(np.float32)
    cells = np.zeros((1, 1), bool)
    return Frame(
        colour, known, selected, cells, cells, Lattice(0, 8, 0, 1), Lattice(0, 8, 0, 1), bounds
    )


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_extending_keeps_known_pixels_and_stays_within_their_range(
    height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.random((height, width, 3), np.float32)
    known = (rng.random((height, width)) < 0.3).astype(np.float32)
    filled = extend(values, known)
    assert filled.shape == values.shape
    np.testing.assert_array_equal(filled[known == 1], values[known == 1])
    if known.any():
        assert filled.min() >= values[known == 1].min() - 1e-4
        assert filled.max() <= values[known == 1].max() + 1e-4


def test_a_constant_surrounding_is_extended_as_that_constant() -> None:
    values = np.full((37, 61, 3), 0.25, np.float32)
    known = np.ones((37, 61), np.float32)
    known[5:30, 10:50] = 0
    values[5:30, 10:50] = 0.9
    np.testing.assert_allclose(extend(values, known), 0.25, atol=1e-6)


@pytest.mark.parametrize("shift", [-0.2, 0.1])
def test_a_constant_colour_error_of_the_model_is_removed_entirely(shift: float) -> None:
    rng = np.random.default_rng(0)
    colour = 0.5 + 0.1 * rng.random((96, 96, 3), np.float32)
    selected = np.zeros((96, 96), np.float32)
    selected[30:60, 20:70] = 1
    made = match_border(colour + np.float32(shift), frame_of(colour, selected))
    np.testing.assert_allclose(made[30:60, 20:70], colour[30:60, 20:70], atol=1e-5)


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_it_is_removed_too_where_strokes_reach_over_all_that_is_known(strength: float) -> None:
    rng = np.random.default_rng(0)
    colour = 0.5 + 0.1 * rng.random((40, 40, 3), np.float32)
    selected = np.zeros((40, 40), np.float32)
    selected[4:36, 4:36] = 1
    frame = replace(frame_of(colour, selected), footprint=np.ones((5, 5), bool))
    made = match_border(colour + np.float32(0.1), frame, strength)
    np.testing.assert_allclose(made, colour, atol=1e-5)


def test_what_comes_out_is_a_picture() -> None:
    colour = np.ones((64, 64, 3), np.float32)
    selected = np.zeros((64, 64), np.float32)
    selected[20:40, 20:40] = 1
    wild = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32) * 5
    made = match_border(wild, frame_of(colour, selected))
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1


def test_a_feather_fades_inside_and_never_outside() -> None:
    selected = np.zeros((40, 40), np.float32)
    selected[10:30, 10:30] = 1
    alpha = feathered(selected, 4)
    assert (alpha[selected == 0] == 0).all()
    assert (np.diff(alpha[20, 10:20]) >= 0).all()
    assert alpha[20, 10] < 0.5 < alpha[20, 20] == 1
    np.testing.assert_array_equal(feathered(selected, 0), selected)


def peeled(selected: np.ndarray, pixels: int) -> np.ndarray:
    """The fade as it is meant: the selection peeled once a pixel."""
    inside, depth = selected > 0, np.zeros_like(selected)
    for _ in range(pixels + 1):
        depth += inside
        wide = np.pad(inside, 1, mode="edge")
        inside = inside & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return selected * np.minimum(1, depth / (pixels + 1))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**31))
def test_a_feather_is_the_selection_peeled_once_a_pixel(
    height: int, width: int, pixels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    selected = rng.random((height, width), np.float32) * (rng.random((height, width)) < 0.85)
    np.testing.assert_allclose(feathered(selected, pixels), peeled(selected, pixels), atol=1e-6)


def test_the_largest_feather_on_the_largest_selection_takes_no_minutes() -> None:
    selected = np.ones((4000, 4000), np.float32)
    selected[:, 0] = 0
    began = time.process_time()
    alpha = feathered(selected, 1000)
    assert time.process_time() - began < 5
    assert alpha[7, 500] == pytest.approx(500 / 1001)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_patch_does_not_fade_at_the_pictures_edge(dtype: Any) -> None:
    pixels = np.zeros((60, 80, 4), dtype)
    selection = np.zeros((60, 80), np.uint8)
    selection[0:40, 30:80] = 255
    request = RefineRequest(pixels, selection, feather=9.0)
    colour = np.zeros((40, 50, 3), np.float32)
    alpha = cut_patch(request, colour, np.zeros((1, 1), np.int64), {}).pixels[..., 3]
    full = np.iinfo(np.uint8).max if dtype == np.uint8 else 1
    assert alpha.shape == (40, 50)
    assert (alpha[:30, 10:] == full).all()
    assert (np.diff(alpha[5, :10].astype(float)) > 0).all()
    assert (np.diff(alpha[30:, 40].astype(float)) < 0).all()
    assert alpha[5, 0] == pytest.approx(0.1 * full, abs=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_patch_takes_less_memory_than_two_of_its_pictures_as_floats(dtype: Any) -> None:
    side = 1000
    selection = np.full((side, side), 255, np.uint8)
    request = RefineRequest(np.zeros((side, side, 4), dtype), selection)
    colour = np.random.default_rng(0).random((side, side, 3), np.float32)
    tracemalloc.start()
    try:
        pixels = cut_patch(request, colour, np.zeros((1, 1), np.int64), {}).pixels
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * side * side * 4 * 4
    wanted = (colour * 255 + 0.5).astype(np.uint8) if dtype == np.uint8 else colour
    np.testing.assert_array_equal(pixels[..., :3], wanted)


def test_only_the_outermost_selected_pixels_are_softened() -> None:
    rng = np.random.default_rng(0)
    colour = rng.random((64, 64, 3), np.float32)
    selected = np.zeros((64, 64), np.float32)
    selected[20:40, 0:30] = 1
    frame = frame_of(colour, selected)
    picture = np.where(selected[..., None] > 0, rng.random((64, 64, 3), np.float32), colour)
    out = soften_border(picture, frame)
    inner = np.zeros_like(selected)
    inner[21:39, 0:29] = 1
    # The picture's own edge, on the left, is no border.
    np.testing.assert_array_equal(out[inner > 0], picture[inner > 0])
    np.testing.assert_array_equal(out[selected == 0], colour[selected == 0])
    wanted = picture[20, 5] + SOFTNESS * (colour[19, 5] - picture[20, 5])
    np.testing.assert_allclose(out[20, 5], wanted, atol=1e-6)
