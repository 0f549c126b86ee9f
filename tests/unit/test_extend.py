"""Growing a picture: what is planned, in what order, and that its colours are held."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskgit_daemon.errors import RequestError
from maskgit_daemon.extend import (
    DEFAULTS,
    SPARE,
    Reach,
    Sides,
    cut,
    extend_picture,
    faded_in,
    grow,
    parse_sides,
    plan_strips,
    window_of,
    window_seed,
    with_defaults,
)
from maskgit_daemon.patch import MIN_MARGIN, Rect, plan_window

REACH = Reach(256, 192)

sizes = st.tuples(st.integers(1, 400), st.integers(1, 300))
growth = st.tuples(*[st.sampled_from([0, 0, 1, 40, 112, 113, 250])] * 4).map(lambda t: Sides(*t))


def geometry() -> Any:
    return SimpleNamespace(stride=8, grid_min=(8, 8), grid_max=(32, 32))


def test_sides_are_read_in_any_order() -> None:
    assert parse_sides("right=200,left=100") == Sides(left=100, right=200)
    assert parse_sides(" top = 3 ") == Sides(top=3)
    assert parse_sides("left=0000000000005") == Sides(left=5)


@pytest.mark.parametrize(
    "text",
    ["", "left", "left=", "left=1.5", "left=-1", "up=3", "left=1,left=2", "left=١", "left=0"],
)
def test_what_is_no_side_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(RequestError, match=r"is not a side|Nothing is to be added"):
        parse_sides(text)


def test_a_picture_that_would_be_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(RequestError, match=r"would grow to 99999 × 100000"):
        grow(np.zeros((1, 1, 4), np.uint8), Sides(left=99_998, bottom=99_999))


@settings(deadline=None, max_examples=40)
@given(sizes, growth)
def test_the_strips_make_every_new_pixel_once_and_no_old_one(
    size: tuple[int, int], sides: Sides
) -> None:
    grown = grow(np.ones((size[1], size[0], 4), np.uint8), sides)
    count = np.zeros(grown.shape[:2], np.int64)
    for strip in plan_strips(size, sides, REACH):
        count[cut(strip.bounds)] += 1
    np.testing.assert_array_equal(count, grown[..., 3] == 0)


@settings(deadline=None, max_examples=40)
@given(sizes, growth)
def test_each_tile_fits_a_window_at_native_scale_with_context(
    size: tuple[int, int], sides: Sides
) -> None:
    for strip in plan_strips(size, sides, REACH):
        canvas = (strip.canvas.width, strip.canvas.height)
        for tile in strip.tiles:
            local = tile._replace(
                left=tile.left - strip.canvas.left, top=tile.top - strip.canvas.top
            )
            plan = plan_window(local, canvas, geometry())
            assert plan.scale == 1.0
            inward = {
                "left": plan.window.left + plan.window.width - local.left - local.width,
                "right": local.left - plan.window.left,
                "top": plan.window.top + plan.window.height - local.top - local.height,
                "bottom": local.top - plan.window.top,
            }[strip.side]
            across = canvas[0] if strip.side in ("left", "right") else canvas[1]
            thick = local.width if strip.side in ("left", "right") else local.height
            assert inward >= min(MIN_MARGIN * 8, across - thick)


def filled_by(seen: list[NDArray[np.uint8]] | None) -> Any:
    """A fill that paints the tiles one value after the other and may note what it was shown."""

    def fill(view: NDArray[np.uint8], tile: Rect, number: int) -> NDArray[np.uint8]:
        if seen is not None:
            seen.append(view.copy())
        return np.full((tile.height, tile.width, 4), 100 + number, np.uint8)

    return fill


@settings(deadline=None, max_examples=15)
@given(sizes, growth, st.booleans())
def test_the_whole_rim_is_filled_and_the_picture_untouched(
    size: tuple[int, int], sides: Sides, held: bool
) -> None:
    width, height = size
    source = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    grown = grow(source, sides)
    done = extend_picture(grown, sides, REACH, filled_by(None), held=held)
    inner = cut(Rect(sides.left, sides.top, width, height))
    np.testing.assert_array_equal(done[inner], source)
    rim = np.delete(done.reshape(-1, 4), _flat(done.shape, inner), 0)
    assert (rim[:, 3] >= 100).all()
    assert held or (rim >= 100).all()


def _flat(shape: tuple[int, ...], inner: tuple[slice, slice]) -> NDArray[np.intp]:
    inside = np.zeros(shape[:2], bool)
    inside[inner] = True
    return np.flatnonzero(inside)


def test_a_window_sees_what_the_one_before_it_kept_but_not_its_spare_pixels() -> None:
    seen: list[NDArray[np.uint8]] = []
    sides = Sides(right=224)
    grown = grow(np.full((64, 300, 4), 9, np.uint8), sides)
    extend_picture(grown, sides, REACH, filled_by(seen), held=False)
    first, second = seen
    assert first.shape[1] == 300 + 112 + SPARE
    assert not first[:, 300:].any()
    assert (second[:, 300:412] == 100).all()
    assert not second[:, 412:].any()


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_strip_fades_in_from_what_the_window_before_it_made(side: str) -> None:
    strip = np.full((40, 40, 4), 200, np.uint8)
    across = side in ("left", "right")
    before = np.full((40, SPARE, 4) if across else (SPARE, 40, 4), 100, np.uint8)
    faded = faded_in(strip, before, side)
    line = faded[7, :, 0] if across else faded[:, 7, 0]
    line = (line[::-1] if side in ("left", "top") else line).astype(int)
    assert abs(line[0] - 100) <= 1
    assert (np.diff(line) >= 0).all()
    assert np.diff(line).max() < 12
    assert (line[SPARE:] == 200).all()


def test_every_window_of_every_variant_has_noise_of_its_own() -> None:
    seeds = {window_seed(s, v, n) for s in range(4) for v in range(4) for n in range(30)}
    assert len(seeds) == 480
    assert window_seed(7, 0, 0) == window_seed(7, 0, 0)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_cut_window_has_the_tile_selected() -> None:
    view = np.arange(20 * 30 * 4, dtype=np.uint32).astype(np.uint8).reshape(20, 30, 4)
    pixels, selection = window_of(view, Rect(12, 6, 5, 4), Rect(10, 5, 15, 10))
    np.testing.assert_array_equal(pixels, view[5:15, 10:25])
    assert selection.sum() == 255 * 20
    assert (selection[1:5, 2:7] == 255).all()


def test_what_a_request_leaves_open_is_told_and_nothing_else() -> None:
    assert with_defaults({"order": None, "steps": 12}) == {**DEFAULTS, "steps": 12}
    assert with_defaults({"order": "halton"}) == {"order": "halton"}
