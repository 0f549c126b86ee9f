"""The orders over a grid that do not come from confidence alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.tiny_google import golden

from maskgit_daemon.orders import OUTWARD, halton_ranks, outward_cost


@pytest.mark.parametrize("side", [8, 16, 24, 32])
def test_it_is_the_published_order_on_square_grids(side):
    want = golden("halton_tiny/golden.npz")[f"halton_order_{side}"].astype(int)
    order = np.argsort(halton_ranks(side, side))
    assert np.array_equal(order, want[:, 0] * side + want[:, 1])


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_every_cell_comes_once_on_any_grid(height, width):
    assert np.array_equal(np.sort(halton_ranks(height, width)), np.arange(height * width))


def test_a_first_quarter_covers_every_part_of_the_grid():
    early = halton_ranks(24, 32).reshape(24, 32) < 24 * 32 // 4
    assert early.reshape(6, 4, 8, 4).any((1, 3)).all()


def test_outward_a_token_costs_more_with_every_step_from_what_is_known():
    unknown = np.ones((3, 5), bool)
    unknown[1, 0] = False
    steps = [[1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5]]
    assert np.array_equal(outward_cost(unknown).reshape(3, 5), OUTWARD * np.array(steps))


def test_outward_all_are_equal_where_nothing_is_known():
    assert not outward_cost(np.ones((4, 4), bool)).any()
