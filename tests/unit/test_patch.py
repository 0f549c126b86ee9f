"""The patch plan: where the window lies and how the token grid lies on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgit_daemon.errors import RequestError
from maskgit_daemon.frame import cut_frame, lay_frame, selection_bounds
from maskgit_daemon.patch import (
    MAX_SELECTION_PIXELS,
    Rect,
    lattice,
    pass_scale,
    plan_window,
)
from maskgit_daemon.request import MAX_WINDOW_PIXELS


def geometry(stride: int = 8, low: int = 8, high: int = 32) -> Any:
    return SimpleNamespace(stride=stride, grid_min=(low, low), grid_max=(high, high))


axes = st.tuples(st.integers(1, 3000), st.integers(0, 2999), st.integers(1, 190)).map(
    lambda t: (t[0], min(t[1], t[0] - 1), min(t[2], t[0] - min(t[1], t[0] - 1)))
)


@given(axes)
def test_the_lattice_covers_the_selection_with_the_fewest_tokens(
    axis: tuple[int, int, int],
) -> None:
    size, start, extent = axis
    laid = lattice(start, extent, size, 8, 8, 32)
    first = laid.origin + laid.first * 8
    assert laid.footprint == -(-extent // 8)
    assert first <= start
    assert start + extent <= first + laid.footprint * 8
    assert laid.first + laid.footprint <= laid.tokens
    assert 8 <= laid.tokens <= 32


@given(axes)
def test_laid_again_on_its_own_window_the_lattice_is_the_same(axis: tuple[int, int, int]) -> None:
    size, start, extent = axis
    laid = lattice(start, extent, size, 8, 8, 32)
    begin = max(0, laid.origin)
    end = min(size, laid.origin + laid.tokens * 8)
    again = lattice(start - begin, extent, end - begin, 8, 8, 32)
    assert again._replace(origin=again.origin + begin) == laid


@given(axes, axes)
def test_the_window_lies_on_the_canvas_and_holds_the_selection(
    across: tuple[int, int, int], down: tuple[int, int, int]
) -> None:
    bounds = Rect(across[1], down[1], across[2], down[2])
    plan = plan_window(bounds, (across[0], down[0]), geometry())
    left, top, width, height = plan.window
    assert left >= 0
    assert top >= 0
    assert left + width <= across[0]
    assert top + height <= down[0]
    assert left <= bounds.left
    assert top <= bounds.top
    assert bounds.left + bounds.width <= left + width
    assert bounds.top + bounds.height <= top + height
    assert plan.scale == 1.0


def test_a_selection_of_96_pixels_has_five_tokens_of_context_on_each_side() -> None:
    plan = plan_window(Rect(800, 600, 96, 96), (2000, 1500), geometry())
    assert plan == ((760, 560, 176, 176), 1.0, (22, 22), 144)


def test_a_selection_too_large_for_the_grid_is_planned_coarse() -> None:
    plan = plan_window(Rect(100, 0, 960, 400), (2000, 1500), geometry())
    assert plan.scale == pytest.approx(192 / 960)
    assert max(plan.grid) <= 32


@pytest.mark.parametrize(
    ("left", "width", "scale"),
    [(0, 512, 0.5), (0, 224, 1.0), (288, 224, 1.0), (0, 240, 224 / 240), (16, 224, 192 / 224)],
)
def test_context_is_wanted_only_where_the_picture_goes_on(
    left: int, width: int, scale: float
) -> None:
    bounds = Rect(left, 0, width, 256)
    assert plan_window(bounds, (512, 256), geometry()).scale == pytest.approx(scale)


@pytest.mark.parametrize(("left", "width"), [(0, 256), (0, 240), (16, 224)])
def test_a_picture_that_fits_the_grid_is_never_shrunk(left: int, width: int) -> None:
    assert plan_window(Rect(left, 0, width, 256), (256, 256), geometry()).scale == 1.0


@given(axes, axes)
def test_the_window_is_laid_at_the_scale_it_was_planned_for(
    across: tuple[int, int, int], down: tuple[int, int, int]
) -> None:
    bounds = Rect(across[1], down[1], across[2] * 3, down[2] * 3)
    canvas = (max(across[0], bounds.left + bounds.width), max(down[0], bounds.top + bounds.height))
    left, top, width, height = (plan := plan_window(bounds, canvas, geometry())).window
    inner = bounds._replace(left=bounds.left - left, top=bounds.top - top)
    assert pass_scale(inner, (width, height), geometry()) == plan.scale


large_bounds = st.integers(1, 100_000).flatmap(
    lambda width: st.tuples(
        st.just(width), st.integers(1, max(1, min(100_000, MAX_SELECTION_PIXELS // width)))
    )
)
around = st.integers(0, 20_000)


@given(large_bounds, around, around, around, around, st.integers(1, 32))
def test_a_selection_within_the_limit_gets_a_window_that_may_be_sent(
    size: tuple[int, int], left: int, top: int, right: int, bottom: int, low: int
) -> None:
    bounds = Rect(left, top, *size)
    canvas = (left + size[0] + right, top + size[1] + bottom)
    plan = plan_window(bounds, canvas, geometry(low=low))
    window = plan.window
    assert window.width * window.height <= MAX_WINDOW_PIXELS
    assert 0 <= window.left <= left
    assert 0 <= window.top <= top
    assert left + size[0] <= window.left + window.width <= canvas[0]
    assert top + size[1] <= window.top + window.height <= canvas[1]
    inner = bounds._replace(left=left - window.left, top=top - window.top)
    assert pass_scale(inner, (window.width, window.height), geometry(low=low)) == plan.scale


def test_a_window_that_would_be_too_large_keeps_context_on_all_sides() -> None:
    window = plan_window(Rect(3000, 3000, 3500, 3600), (9000, 9000), geometry()).window
    left, top, right, bottom = (
        3000 - window.left,
        3000 - window.top,
        window.left + window.width - 6500,
        window.top + window.height - 6600,
    )
    assert 0.99 * MAX_WINDOW_PIXELS < window.width * window.height <= MAX_WINDOW_PIXELS
    assert min(left, top, right, bottom) > 150


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Rect(0, 0, 0, 5), "empty"),
        (Rect(0, 0, 5000, 4000), "megapixels"),
        (Rect(-1, 0, 5, 5), "outside"),
        (Rect(99, 99, 5, 5), "outside"),
    ],
)
def test_impossible_bounds_are_refused_in_a_sentence(bounds: Rect, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        plan_window(bounds, (5000 if words == "megapixels" else 100, 4000), geometry())


@settings(deadline=None, max_examples=30)
@given(axes, axes)
def test_the_frame_cut_from_the_window_equals_that_cut_from_the_picture(
    across: tuple[int, int, int], down: tuple[int, int, int]
) -> None:
    width, height = min(across[0], 300), min(down[0], 300)
    bounds = Rect(across[1] % width, down[1] % height, 1 + across[2] % 150, 1 + down[2] % 150)
    bounds = bounds._replace(
        width=min(bounds.width, width - bounds.left), height=min(bounds.height, height - bounds.top)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros((height, width), np.uint8)
    selection[bounds.top : bounds.top + bounds.height, bounds.left : bounds.left + bounds.width] = (
        255
    )
    left, top, wide, tall = plan_window(bounds, (width, height), geometry()).window
    area = (slice(top, top + tall), slice(left, left + wide))
    whole = cut_frame(pixels, selection, bounds, geometry())
    part, scale = lay_frame(pixels[area], selection[area], geometry())
    assert scale == 1.0
    assert selection_bounds(selection) == bounds
    np.testing.assert_array_equal(whole.known, part.known)
    np.testing.assert_array_equal(whole.footprint, part.footprint)
    np.testing.assert_allclose(whole.colour, part.colour, atol=1e-6)


def test_transparent_pixels_are_unknown_and_never_black() -> None:
    pixels = np.full((96, 96, 4), 200, np.uint8)
    pixels[:, 48:] = 0
    selection = np.zeros((96, 96), np.uint8)
    selection[40:56, 8:24] = 255
    frame = cut_frame(pixels, selection, selection_bounds(selection), geometry())
    assert frame.unknown.any()
    assert not (frame.unknown & frame.footprint).any()
    np.testing.assert_allclose(frame.colour, 200 / 255, atol=1e-5)


def test_the_encoder_never_sees_what_is_inside_the_selection() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (128, 128, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros((128, 128), np.uint8)
    selection[40:90, 50:80] = 255
    other = pixels.copy()
    other[40:90, 50:80, :3] = rng.integers(0, 256, (50, 30, 3), np.uint8)
    bounds = selection_bounds(selection)
    contexts = [cut_frame(p, selection, bounds, geometry()).context() for p in (pixels, other)]
    np.testing.assert_array_equal(*contexts)
