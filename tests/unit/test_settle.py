"""Settling: a shade too much goes, an edge stays, nothing outside moves."""

from __future__ import annotations

import numpy as np
import pytest

from maskgit_daemon.frame import Frame
from maskgit_daemon.patch import Lattice, Rect
from maskgit_daemon.settle import settle

INSIDE = (slice(32, 80), slice(24, 72))


def sky() -> tuple[np.ndarray, Frame]:
    """A smooth picture (112,104,3) and the frame of a rectangular selection in it."""
    rows = np.linspace(0.3, 0.6, 112, dtype=np.float32)
    picture = np.repeat(np.repeat(rows[:, None, None], 104, 1), 3, 2)
    selected = np.zeros((112, 104), np.float32)
    selected[INSIDE] = 1
    cells = np.zeros((14, 13), bool)
    bounds = Rect(24, 32, 48, 48)
    lattice = Lattice(0, 14, 4, 6)
    frame = Frame(picture, 1 - selected, selected, cells, cells, lattice, lattice, bounds)
    return picture, frame


@pytest.mark.parametrize("shade", [0.05, -0.04])
def test_a_patch_a_shade_off_takes_the_colour_of_its_surroundings(shade: float) -> None:
    picture, frame = sky()
    made = picture.copy()
    made[INSIDE] += np.float32(shade)
    settled = settle(made, frame, 1.0)
    assert np.abs(settled - picture)[INSIDE].mean() < 0.35 * abs(shade)


def test_a_real_edge_stays() -> None:
    picture, frame = sky()
    made = picture.copy()
    made[INSIDE] += np.float32(0.35)
    np.testing.assert_allclose(settle(made, frame, 1.0), made, atol=0.01)


def test_nothing_outside_the_selection_moves_and_amount_0_moves_nothing() -> None:
    picture, frame = sky()
    made = picture.copy()
    made[INSIDE] += np.float32(0.05)
    outside = frame.selected == 0
    np.testing.assert_array_equal(settle(made, frame, 1.0)[outside], made[outside])
    assert settle(made, frame, 0.0) is made
    assert settle(made, frame, -1.0) is made
