"""Noise depends on seed, variant, step and position, and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgit_daemon.noise import SeededNoise

cells = st.lists(st.integers(0, 300), min_size=1, max_size=40, unique=True).map(sorted)


@given(some=cells, others=cells, codes=st.integers(1, 70), step=st.integers(0, 255))
def test_a_position_has_the_same_noise_whichever_others_are_unknown(some, others, codes, step):
    noise = SeededNoise(7, 2)
    union = np.array(sorted({*some, *others}))
    where = np.searchsorted(union, some)
    some = np.array(some)
    assert np.array_equal(noise.draw(step, union, codes)[where], noise.draw(step, some, codes))
    assert np.array_equal(noise.choice(step, union)[where], noise.choice(step, some))
    assert np.array_equal(noise.order(union)[where], noise.order(some))


@pytest.mark.parametrize("other", [(1, 2, 3), (0, 3, 3), (0, 2, 4)])
def test_seed_variant_and_step_each_change_everything(other):
    def at(seed, variant, step):
        noise, where = SeededNoise(seed, variant), np.arange(50)
        return np.append(noise.draw(step, where, 20), noise.choice(step, where))

    assert not np.isclose(at(0, 2, 3), at(*other), rtol=0, atol=1e-6).any()


def test_choice_order_and_draw_do_not_repeat_each_other():
    noise, where = SeededNoise(5), np.arange(400)
    rows = np.stack([noise.draw(0, where, 1)[:, 0], noise.choice(0, where), noise.order(where)])
    assert np.abs(np.corrcoef(rows) - np.eye(3)).max() < 0.2


def test_it_is_standard_gumbel_and_finite():
    values = SeededNoise(1).draw(0, np.arange(576), 1024).astype(np.float64)
    assert np.isfinite(values).all()
    assert values.mean() == pytest.approx(np.euler_gamma, abs=0.01)
    assert values.var() == pytest.approx(np.pi**2 / 6, rel=0.01)
    for level in (0.01, 0.5, 0.99, 0.9999):
        assert np.mean(values < -np.log(-np.log(level))) == pytest.approx(level, abs=0.002)


DRAWS = [
    [-1.1187940, 0.2458770, 1.8404505, 0.1358811, -0.0143462],
    [0.7733834, 2.9712623, -0.6613392, 4.3367729, 4.3081555],
]
CHOICES = [1.8566618, 2.3556385]


def test_the_stream_is_the_one_that_histories_were_made_with():
    # These numbers may never change: a stored seed must give the same picture again.
    noise, where = SeededNoise(2**63 - 1, 3), np.array([0, 77])
    assert noise.draw(4, where, 5) == pytest.approx(np.array(DRAWS), abs=2e-6)
    assert noise.choice(4, where) == pytest.approx(np.array(CHOICES), abs=2e-6)
