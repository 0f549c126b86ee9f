"""A request is complete and in range from the moment it exists."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskgit_daemon.errors import RequestError
from maskgit_daemon.request import MAX_WINDOW_PIXELS, RefineRequest


def request(**fields: Any) -> RefineRequest:
    given = {
        "pixels": np.zeros((4, 6, 4), np.uint8),
        "selection": np.full((4, 6), 255, np.uint8),
    }
    return RefineRequest(**(given | fields))


def refusal(**fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        request(**fields)
    return str(caught.value)


def test_its_fields_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        request().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 6, 3), np.uint8),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint16),
        np.zeros((4, 6, 4), np.float64),
    ],
)
def test_a_window_of_another_kind_is_refused(pixels: Any) -> None:
    assert "height × width × 4 RGBA as uint8 or float32" in refusal(pixels=pixels)


def test_a_selection_of_another_size_is_refused() -> None:
    sentence = refusal(selection=np.zeros((6, 4), np.uint8))
    assert "The selection is 4 × 6 but the picture is 6 × 4" in sentence
    assert "give one 8-bit mask" in refusal(selection=np.ones((4, 6), np.float32))


def test_an_empty_selection_is_refused() -> None:
    assert "The selection is empty" in refusal(selection=np.zeros((4, 6), np.uint8))


def test_16_megapixels_are_taken_and_one_row_more_is_refused() -> None:
    def of(height: int) -> dict[str, Any]:
        # Broadcast: as large as told, without the memory.
        one = np.ones((1, 1), np.uint8)
        return {
            "pixels": np.broadcast_to(one[..., None], (height, 4000, 4)),
            "selection": np.broadcast_to(one, (height, 4000)),
        }

    rows = MAX_WINDOW_PIXELS // 4000
    assert request(**of(rows)).pixels.shape == (4000, 4000, 4)
    assert "window spans 16.0 megapixels; send at most 16" in refusal(**of(rows + 1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
    pixels = np.zeros((4, 6, 4), np.float32)
    pixels[2, 3, 1] = value
    assert "NaN or infinite" in refusal(pixels=pixels)


RANGES = {
    "strength": (0.0, 1.0),
    "temperature": (0.0, 100.0),
    "choice_temperature": (0.0, 1000.0),
    "feather": (0.0, 1000.0),
    "guidance_scale": (0.0, 100.0),
}
COUNTS = {"steps": (1, 256), "variants": (1, 16), "seed": (0, 2**63 - 1)}


@pytest.mark.parametrize("name", RANGES)
@given(value=st.floats() | st.integers() | st.booleans() | st.text(max_size=2))
def test_a_number_is_within_its_range_or_refused_by_name(name: str, value: Any) -> None:
    low, high = RANGES[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
        assert getattr(request(**{name: value}), name) == value
    else:
        assert f"The {name} must be a number from {low:g} to {high:g}" in refusal(**{name: value})


@pytest.mark.parametrize("name", COUNTS)
@given(value=st.floats() | st.integers(-(2**64), 2**64) | st.booleans() | st.none())
def test_a_count_is_whole_and_within_its_range(name: str, value: Any) -> None:
    low, high = COUNTS[name]
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        assert getattr(request(**{name: value}), name) == value
    else:
        sentence = refusal(**{name: value})
        assert f"The {name} must be a whole number from {low} to {high}" in sentence


def test_a_name_that_is_not_known_is_answered_with_those_that_are() -> None:
    assert "confidence, outward, halton, random" in refusal(order="zigzag")
    assert "cosine" in refusal(schedule="sawtooth")


def test_options_are_numbers() -> None:
    assert request(options={"blend": 2}).options["blend"] == 2
    assert "option blend" in refusal(options={"blend": math.nan})
