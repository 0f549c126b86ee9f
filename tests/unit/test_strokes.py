"""Auto-strokes: MaskGIT-Edit's exactly, and what every kind promises."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.tiny_google import golden

from maskgit_export.strokes import (
    KINDS,
    flatten,
    make_strokes,
    paint_segment,
    reduce_colours,
    segments,
)


@pytest.fixture(scope="module")
def want():
    return golden("maskgit_edit/strokes.npz")


class TestAsMaskgitEdit:
    def test_the_median_and_the_reduced_colours_are_equal(self, want):
        assert np.array_equal(flatten(want["image"]), want["median23"])
        reduced = reduce_colours(want["median23"], want["segments"])
        assert np.array_equal(reduced, want["reduced"])

    def test_the_segmentation_is_nearly_the_same_in_any_version(self, want):
        labels = segments(want["median23"])
        assert abs(int(labels.max()) - int(want["segments"].max())) <= 2
        pairs = labels * 100 + want["segments"]
        largest = [
            np.unique(pairs[labels == k], return_counts=True)[1].max() for k in np.unique(labels)
        ]
        assert sum(largest) / labels.size > 0.9

    @pytest.mark.parametrize("case", ["inversion", "counterfactual"])
    def test_overlay_and_mask_follow_from_segment_and_colour(self, want, case):
        colours = want["reduced"] if case == "inversion" else want["counterfactual_color"]
        overlay, mask = paint_segment(
            want["image"], want["segments"], int(want[f"{case}_segment"]), colours
        )
        assert np.array_equal(overlay, want[f"{case}_overlay"])
        assert np.array_equal(mask, want[f"{case}_mask"].astype(bool))


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_paints_inside_its_selection_alone(self, want, kind):
        for seed in range(2):
            strokes = make_strokes(want["image"], kind, seed)
            outside = ~strokes.selection
            assert np.array_equal(strokes.painted[outside], want["image"][outside])
            assert (strokes.painted[strokes.selection] != want["image"][strokes.selection]).any()
            assert 0.02 < strokes.selection.mean() < 0.5

    def test_repeats_with_its_seed_and_differs_without(self, want, kind):
        one, same, other = (make_strokes(want["image"], kind, seed) for seed in (1, 1, 2))
        assert np.array_equal(one.painted, same.painted)
        assert np.array_equal(one.selection, same.selection)
        assert not np.array_equal(one.painted, other.painted)
