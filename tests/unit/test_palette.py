"""What grows beside a picture is held to the colours that the picture shows at that height."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskgit_daemon.frame import Frame
from maskgit_daemon.palette import hold, hold_inside, palette_of
from maskgit_daemon.patch import Lattice, Rect

Bytes = NDArray[np.uint8]
SIDES = ("left", "right", "top", "bottom")


def noisy(colour: tuple[int, int, int], spread: float, width: int, height: int = 64) -> Bytes:
    values = np.random.default_rng(1).normal(0, spread, (height, width, 1)) + colour
    opaque = np.full((height, width, 1), 255)
    return np.clip(np.dstack([values, opaque]), 0, 255).astype(np.uint8)


def upright(pixels: Bytes, side: str) -> Bytes:
    """A picture made for left and right, turned so that it grows on ``side``."""
    return pixels.swapaxes(0, 1) if side in ("top", "bottom") else pixels


def outer(pixels: Bytes, side: str) -> Bytes:
    """The half of a strip, turned back, that lies away from the joint."""
    pixels = upright(pixels, side)
    half = pixels.shape[1] // 2
    return pixels[:, :half] if side in ("left", "top") else pixels[:, half:]


@pytest.mark.parametrize("side", SIDES)
def test_what_the_picture_shows_itself_hardly_changes(side: str) -> None:
    source = upright(noisy((120, 90, 60), 12, 200), side)
    strip = upright(noisy((120, 90, 60), 12, 80), side)
    held = hold(strip, palette_of(source, side), side)
    assert np.abs(held.astype(int) - strip).mean() < 2


@pytest.mark.parametrize("side", SIDES)
def test_a_colour_the_picture_has_not_comes_back_away_from_the_joint(side: str) -> None:
    source = upright(noisy((120, 90, 60), 6, 200), side)
    strip = upright(noisy((60, 160, 60), 6, 96), side)
    held = hold(strip, palette_of(source, side), side)
    np.testing.assert_allclose(outer(held, side)[..., :3].mean((0, 1)), (120, 90, 60), atol=3)
    at_joint = upright(held, side)[:, -1 if side in ("left", "top") else 0]
    was = upright(strip, side)[:, -1 if side in ("left", "top") else 0]
    assert np.abs(at_joint.astype(int) - was).max() <= 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_each_height_is_held_to_its_own_colours(side: str) -> None:
    sky, ground = noisy((40, 90, 200), 3, 200, 128), noisy((90, 70, 40), 3, 200, 128)
    strip = np.vstack([ground[:, :96], sky[:, :96]])
    held = hold(strip, palette_of(np.vstack([sky, ground]), side), side)
    top, bottom = outer(held, side)[:48], outer(held, side)[-48:]
    np.testing.assert_allclose(top[..., :3].mean((0, 1)), (40, 90, 200), atol=4)
    np.testing.assert_allclose(bottom[..., :3].mean((0, 1)), (90, 70, 40), atol=4)


def test_of_two_colours_at_a_height_the_nearer_one_is_kept() -> None:
    source = np.hstack([noisy((240, 240, 240), 3, 100), noisy((60, 50, 40), 3, 100)])
    for colour in ((230, 235, 240), (70, 60, 50)):
        held = hold(noisy(colour, 3, 96), palette_of(source, "right"), "right")
        assert np.abs(outer(held, "right")[..., :3].mean((0, 1)) - colour).max() < 14


def test_detail_stronger_than_any_of_the_picture_is_weakened_and_never_strengthened() -> None:
    smooth, rough = noisy((120, 120, 120), 4, 200), noisy((120, 120, 120), 30, 200)
    held = hold(rough[:, :96], palette_of(smooth, "right"), "right")
    assert outer(held, "right")[..., :3].std() < 8
    held = hold(smooth[:, :96], palette_of(rough, "right"), "right")
    assert outer(held, "right")[..., :3].std() <= smooth[..., :3].std() + 0.5


def test_transparent_pixels_teach_no_colour_and_weaken_no_detail() -> None:
    source = noisy((200, 150, 100), 20, 200)
    source[:, 60:180] = 0
    strip = noisy((200, 150, 100), 20, 96)
    held = hold(strip, palette_of(source, "right"), "right")
    np.testing.assert_allclose(held[..., :3].mean((0, 1)), (200, 150, 100), atol=3)
    assert outer(held, "right")[..., :3].std() > 0.8 * outer(strip, "right")[..., :3].std()


@pytest.mark.parametrize("alpha", [0, 1, 127])
def test_rows_without_a_known_pixel_leave_the_strip_as_it_is(alpha: int) -> None:
    source = noisy((200, 150, 100), 20, 200, 256)
    source[:128] = (0, 0, 0, alpha)
    strip = noisy((60, 160, 60), 20, 96, 256)
    held = hold(strip, palette_of(source, "right"), "right")
    np.testing.assert_array_equal(held[:48], strip[:48])
    source[:] = (0, 0, 0, alpha)
    np.testing.assert_array_equal(hold(strip, palette_of(source, "right"), "right"), strip)


def test_a_narrow_picture_says_nothing_of_contrast() -> None:
    strip = noisy((120, 120, 120), 30, 96)
    held = hold(strip, palette_of(noisy((120, 120, 120), 2, 8), "right"), "right")
    assert outer(held, "right")[..., :3].std() > 0.9 * outer(strip, "right")[..., :3].std()


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(*[st.integers(1, 150)] * 3),
    st.sampled_from(SIDES),
    st.integers(0, 2**32 - 1),
)
def test_any_size_is_held_alpha_untouched(
    sizes: tuple[int, int, int], side: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    along, thick, deep = sizes
    strip = upright(rng.integers(0, 256, (along, thick, 4), dtype=np.uint8), side)
    source = upright(rng.integers(0, 256, (along, deep, 4), dtype=np.uint8), side)
    held = hold(strip, palette_of(source, side), side)
    assert (held.shape, held.dtype) == (strip.shape, np.uint8)
    np.testing.assert_array_equal(held[..., 3], strip[..., 3])


INSIDE = (slice(32, 80), slice(24, 72))


def sky_and_ground() -> tuple[NDArray[np.float32], Frame]:
    """A blue and a brown half (112,104,3) and the frame of a selection on both."""
    picture = np.empty((112, 104, 3), np.float32)
    picture[:56], picture[56:] = (0.2, 0.4, 0.7), (0.4, 0.3, 0.2)
    selected = np.zeros((112, 104), np.float32)
    selected[INSIDE] = 1
    cells = np.zeros((14, 13), bool)
    lattice = Lattice(0, 14, 4, 6)
    bounds = Rect(24, 32, 48, 48)
    return picture, Frame(picture, 1 - selected, selected, cells, cells, lattice, lattice, bounds)


def test_a_spot_of_a_colour_that_is_nowhere_near_loses_it() -> None:
    picture, frame = sky_and_ground()
    made = picture.copy()
    made[34:54, 36:60] += np.float32(0.15)
    away = np.abs(hold_inside(made, frame, 1.0) - picture)[40:48, 40:56]
    assert away.mean() < 0.6 * 0.15


def test_colours_of_the_surroundings_stay_where_the_model_put_them() -> None:
    picture, frame = sky_and_ground()
    made = picture.copy()
    made[32:72, 32:64] = picture[60, 60]
    held = hold_inside(made, frame, 1.0)
    np.testing.assert_allclose(held[44:64, 40:56], made[44:64, 40:56], atol=0.05)


def test_nothing_known_moves_and_amount_0_or_nothing_known_moves_nothing() -> None:
    picture, frame = sky_and_ground()
    made = np.clip(picture + np.float32(0.1), 0, 1)
    known = frame.known > 0
    np.testing.assert_array_equal(hold_inside(made, frame, 1.0)[known], made[known])
    assert hold_inside(made, frame, 0.0) is made
    assert hold_inside(made, replace(frame, known=np.zeros_like(frame.known)), 1.0) is made
