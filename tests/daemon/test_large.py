"""Selections larger than the grid with the model that ships: strength, previews."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.events import Patch, Step
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model, load_model

PHOTO = Path(__file__).parents[2] / "examples" / "mountain.jpg"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(load_bundle(STARTER), "cpu", threads=1)


def large(**fields: Any) -> RefineRequest:
    """A photo of 360 × 280 pixels with 300 × 220 selected, softly and raggedly at the right."""
    with Image.open(PHOTO) as photo:
        pixels = np.asarray(photo.convert("RGBA").resize((2048, 1366)))[600:880, 800:1160].copy()
    selection = np.zeros(pixels.shape[:2], np.uint8)
    selection[30:250, 30:330] = 255
    selection[30:250, 250:330] = np.random.default_rng(0).integers(0, 256, (220, 80))
    return RefineRequest(pixels, selection, **({"steps": 2} | fields))


def inside(request: RefineRequest, patch: Patch) -> np.ndarray:
    """What stands in the request where the patch lies."""
    height, width = patch.pixels.shape[:2]
    return request.pixels[patch.top : patch.top + height, patch.left : patch.left + width]


def test_a_light_touch_stays_near_what_is_painted(model: Model) -> None:
    errors = []
    for strength in (0.05, 0.1, 0.4, 1.0):
        request = large(strength=strength)
        (patch,) = refine(model, request)
        change = patch.pixels[..., :3].astype(float) - inside(request, patch)[..., :3]
        errors.append(np.abs(change).mean() / 255)
    assert errors == sorted(errors)
    assert errors[0] < 0.01
    assert errors[1] < 0.5 * errors[-1]


def test_painted_pixels_do_not_matter_to_a_method_that_ignores_them(model: Model) -> None:
    one = large(strength=0.5, guidance="none")
    other = large(strength=0.5, guidance="none")
    chosen = other.selection > 0
    other.pixels[chosen, :3] = np.random.default_rng(1).integers(0, 256, (chosen.sum(), 3))
    (first,), (second,) = refine(model, one), refine(model, other)
    np.testing.assert_array_equal(first.tokens, second.tokens)


def test_previews_of_tiles_are_of_the_tile_and_lie_where_it_lies(model: Model) -> None:
    request = large(preview=True, feather=20.0)
    steps: list[Step] = []
    (result,) = refine(model, request, steps.append)
    shown = [step.preview for step in steps if step.preview is not None]
    whole, tiles = shown[0], shown[1:]
    assert (whole.left, whole.top, whole.pixels.shape) == (30, 30, result.pixels.shape)
    assert len(tiles) >= 2
    covered = np.zeros(request.selection.shape, bool)
    for tile in tiles:
        height, width = tile.pixels.shape[:2]
        here = (slice(tile.top, tile.top + height), slice(tile.left, tile.left + width))
        assert height * width < 0.7 * result.pixels[..., 0].size
        np.testing.assert_array_equal(tile.pixels[..., 3], request.selection[here])
        covered[here] = True
    assert covered[request.selection > 0].all()


def test_the_steps_of_all_variants_are_counted_once(model: Model) -> None:
    steps: list[Step] = []
    patches = refine(model, large(variants=2, steps=1), steps.append)
    assert [patch.info["variant"] for patch in patches] == [0, 1]
    assert [step.step for step in steps] == list(range(len(steps)))
    assert {step.steps for step in steps} == {len(steps)}
