"""Large selections: where the tiles lie, and the way back from the coarse pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskgit_daemon.frame import lay_frame
from maskgit_daemon.patch import Rect
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.tiles import coarse_window, cut_tile, keep_painted, tile_areas

GEOMETRY: Any = SimpleNamespace(stride=8, grid_min=(8, 8), grid_max=(32, 32))


def gradient(height: int, width: int) -> np.ndarray:
    """A picture (H,W,4) float32 whose red tells the column and green the row."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    red, green = columns / (width - 1), rows / (height - 1)
    return np.dstack([red, green, np.full_like(red, 0.5), np.ones_like(red)])


def selected(height: int, width: int, bounds: Rect) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    left, top, wide, tall = bounds
    mask[top : top + tall, left : left + wide] = 255
    return mask


@pytest.mark.parametrize(
    "bounds", [Rect(101, 83, 523, 431), Rect(0, 0, 700, 600), Rect(7, 90, 601, 333)]
)
def test_the_coarse_picture_is_laid_back_where_it_was(bounds: Rect) -> None:
    request = RefineRequest(gradient(600, 700), selected(600, 700, bounds))
    frame, scale = lay_frame(request.pixels, request.selection, GEOMETRY)
    assert scale < 1
    window = coarse_window(request, frame, scale, frame.colour, 0.0)
    # Half a native pixel; a coarse one is two to three.  Nothing goes on beyond the picture's edge.
    inner = (slice(3, -3), slice(3, -3))
    moved = np.abs(window - request.pixels)[inner]
    assert moved[..., 0].max() < 0.5 / 699
    assert moved[..., 1].max() < 0.5 / 599


def test_what_is_kept_of_the_painted_pixels_has_their_detail() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((400, 500, 4), np.float32) * np.float32(0.8) + np.float32(0.1)
    pixels[..., 3] = 1
    pixels[200:, :, 3] = 0
    request = RefineRequest(pixels, selected(400, 500, Rect(50, 30, 400, 340)))
    frame, scale = lay_frame(pixels, request.selection, GEOMETRY)
    whole = coarse_window(request, frame, scale, frame.colour, 1.0)
    np.testing.assert_allclose(whole[:200, :, :3], pixels[:200, :, :3], atol=1e-5)
    coarse = coarse_window(request, frame, scale, frame.colour, 0.0)
    # What is transparent has no detail to give.
    np.testing.assert_array_equal(whole[200:], coarse[200:])
    half = coarse_window(request, frame, scale, frame.colour, 0.5)
    np.testing.assert_allclose(half, (whole + coarse) / 2, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 700), st.integers(1, 700), st.integers(0, 300), st.integers(0, 300), st.data()
)
def test_tiles_make_every_selected_pixel_once_and_see_only_what_is_made(
    wide: int, tall: int, left: int, top: int, data: st.DataObject
) -> None:
    mask = selected(1000, 1000, Rect(left, top, wide, tall))
    hole = data.draw(st.integers(0, min(wide, tall) // 2))
    mask[top : top + hole, left : left + hole] = 0
    areas = tile_areas(mask, GEOMETRY) if mask.any() else []
    made = np.zeros(mask.shape, int)
    for number in range(len(areas)):
        tile = cut_tile(mask, areas, number, GEOMETRY)
        left_, top_, width, height = tile.window
        assert tile.selection.shape == tile.later.shape == (height, width)
        assert max(width, height) <= 32 * 8, "no more than the model sees"
        here = (slice(top_, top_ + height), slice(left_, left_ + width))
        made[here] += tile.selection > 0
        assert np.array_equal(tile.later, (mask[here] > 0) & (made[here] == 0))
    assert np.array_equal(made, mask > 0)


def test_painted_pixels_come_back_where_their_token_was_kept_and_selected() -> None:
    pixels = np.random.default_rng(0).random((96, 96, 4), np.float32)
    pixels[..., 3] = 1
    request = RefineRequest(pixels, selected(96, 96, Rect(16, 16, 64, 64)))
    frame, _ = lay_frame(pixels, request.selection, GEOMETRY)
    held = np.zeros(frame.footprint.shape, bool)
    held[:, : held.shape[1] // 2] = True
    made = np.zeros_like(frame.colour)
    middle = held.shape[1] // 2 * 8
    kept = keep_painted(made, frame, held, 0.5)
    chosen = frame.selected > 0
    np.testing.assert_allclose(
        kept[:, : middle - 4][chosen[:, : middle - 4]],
        0.5 * frame.colour[:, : middle - 4][chosen[:, : middle - 4]],
        atol=1e-6,
    )
    assert not kept[~chosen].any()
    assert not kept[:, middle + 4 :].any()
    np.testing.assert_array_equal(keep_painted(made, frame, held, 0.0), made)
