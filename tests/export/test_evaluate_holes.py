"""Holes have the areas they promise, and the same seed gives the same hole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskgit_export.evaluate.holes import KINDS, make_hole


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(160, 160, 3)), (6, 6, 0))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def test_the_papers_two_tasks_cover_a_quarter_and_a_half(picture):
    middle = make_hole("centre", picture, (0.1, 0.3), 0)
    assert middle.mean() == 0.25
    assert not middle[:40].any()
    assert not middle[:, 120:].any()
    half = make_hole("right", picture, (0.1, 0.3), 0)
    assert half[:, 80:].all()
    assert not half[:, :80].any()


@given(low=st.floats(0.05, 0.45), width=st.floats(0.05, 0.2), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_free_form_holes_cover_the_share_asked_for(low, width, seed):
    hole = make_hole("free-form", np.zeros((96, 128, 3), np.uint8), (low, low + width), seed)
    assert low <= hole.mean() <= low + width
    assert not hole.all()


@pytest.mark.parametrize("seed", range(4))
def test_segment_holes_are_connected_and_cover_the_share_asked_for(picture, seed):
    hole = make_hole("segments", picture, (0.05, 0.5), seed)
    assert 0.05 <= hole.mean() <= 0.5
    assert ndimage.label(hole, np.ones((3, 3)))[1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_hole_depends_on_its_seed_alone(picture, kind):
    first, again = (make_hole(kind, picture, (0.1, 0.3), 5) for _ in range(2))
    other = make_hole(kind, picture, (0.1, 0.3), 6)
    assert np.array_equal(first, again)
    assert np.array_equal(first, other) == (kind in ("centre", "right"))
