"""The strokes' local average colour in the pixels."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from maskgit_daemon.guidance import METHODS
from maskgit_daemon.paste import toward_strokes


def frame_of(colour, selected):
    return SimpleNamespace(colour=colour, selected=selected)


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    picture = rng.random((48, 64, 3)).astype(np.float32)
    selected = np.zeros((48, 64), np.float32)
    selected[10:40, 12:50] = 1
    return picture, frame_of(np.full_like(picture, 0.3), selected)


def test_amount_zero_is_the_picture_itself(scene):
    picture, frame = scene
    assert toward_strokes(picture, frame, 0.0, 8) is picture


def test_nothing_outside_the_selection_moves(scene):
    picture, frame = scene
    moved = toward_strokes(picture, frame, 1.0, 8)
    outside = frame.selected == 0
    assert np.array_equal(moved[outside], picture[outside])


def test_the_average_arrives_and_the_fine_detail_stays(scene):
    picture, frame = scene
    moved = toward_strokes(picture * 0.3 + 0.35, frame, 1.0, 8)
    inside = frame.selected > 0
    assert moved[inside].mean(0) == pytest.approx(np.full(3, 0.3), abs=0.01)
    assert moved[inside].std() > 0.8 * (picture * 0.3)[inside].std()


def test_a_larger_amount_is_never_further_from_the_strokes(scene):
    picture, frame = scene
    inside = frame.selected > 0
    far = [
        abs(toward_strokes(picture, frame, amount, 8)[inside].mean() - 0.3)
        for amount in np.linspace(0, 1, 6)
    ]
    assert far == sorted(far, reverse=True)


def test_near_the_border_it_fades_so_that_no_seam_comes_back(scene):
    picture, frame = scene
    sharp = toward_strokes(picture, frame, 1.0, 8)
    faded = toward_strokes(picture, frame, 1.0, 8, border=6)
    moved = np.abs(faded - picture).sum(-1)
    assert moved[10, 30] < 0.3 * np.abs(sharp - picture).sum(-1)[10, 30]
    assert faded[25, 30] == pytest.approx(sharp[25, 30], abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_inpainting_is_not_repainted(name):
    assert METHODS[name].repaint(1.0) == 0.0
