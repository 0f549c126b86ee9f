"""Every mask schedule of the paper under its name, next to the reference's own names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.tiny_google import golden

from maskgit_daemon.decode import masked_after
from maskgit_daemon.errors import RequestError
from maskgit_daemon.schedules import SCHEDULES, masked_share

PAPER = ("cosine", "linear", "square", "cubic", "exponential", "square-root", "logarithmic")
SAME = {
    "cosine": "cosine",
    "linear": "uniform",
    "square": "pow 2",
    "cubic": "pow 3",
    "square-root": "pow0.5",
    "logarithmic": "log",
    "exponential": "exp",
}


@pytest.mark.parametrize("steps", [8, 12])
def test_shares_and_counts_equal_the_published_ones(steps):
    want = golden("google_tiny/golden.npz")
    for row, name in enumerate(want["schedule_methods"]):
        for t in range(steps):
            share = masked_share(str(name), np.float32(t + 1) / np.float32(steps), 64)
            assert share.dtype == np.float32
            assert share == pytest.approx(want[f"schedule_T{steps}_ratio"][row, t], abs=2e-7)
            count = int(np.floor(np.float32(64) * share))
            if not want[f"schedule_T{steps}_edge"][row, t] or name == "cosine":
                assert count == want[f"schedule_T{steps}_floor64"][row, t], (name, t)


def test_the_count_that_only_float32_gets_right():
    assert masked_after("cosine", np.float32(8) / np.float32(12), 64, 40) == 31


@pytest.mark.parametrize(("name", "reference"), SAME.items())
def test_a_name_of_the_paper_is_a_name_of_the_reference(name, reference):
    for ratio in np.linspace(0.05, 1, 20, dtype=np.float32):
        assert masked_share(name, ratio, 100) == masked_share(reference, ratio, 100)


@given(
    name=st.sampled_from(PAPER),
    start=st.integers(1, 1024),
    steps=st.integers(1, 64),
)
def test_counts_never_rise_and_stay_in_range(name, start, steps):
    unknown, counts = start, []
    for t in range(steps):
        counts.append(masked_after(name, np.float32(t + 1) / np.float32(steps), start, unknown))
        unknown = counts[-1]
    assert counts == sorted(counts, reverse=True)
    assert all(1 <= count <= max(1, start - 1) for count in counts)


@pytest.mark.parametrize("name", ["", "cosin", "pow", "pow -1", "pow 0", "pow 1e9"])
def test_an_unknown_schedule_is_refused_with_the_known_ones(name):
    with pytest.raises(RequestError, match="cosine"):
        masked_share(name, 0.5, 10)
    assert set(PAPER) <= set(SCHEDULES)
