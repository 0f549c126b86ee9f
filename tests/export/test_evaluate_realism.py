"""The five realism measures read what they claim on pictures made for the purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from maskgit_export.evaluate import realism as r


def texture(seed=0, side=96, smooth=0.7, contrast=40.0):
    """Grey-ish noise of a given roughness (side,side,3) uint8."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(side, side, 3)), (smooth, smooth, 0))
    return np.clip(128 + contrast * noise / noise.std(), 0, 255).astype(np.uint8)


def square(side=96, edge=24):
    hole = np.zeros((side, side), bool)
    hole[edge:-edge, edge:-edge] = True
    return hole


def filled(original, other, hole):
    return np.where(hole[..., None], other, original)


def test_the_original_reads_zero_on_all_but_the_seam():
    picture, hole = texture(), square()
    values = r.realism(picture, picture, hole)
    assert list(values) == list(r.UNITS)
    del values["seam"]
    assert list(values.values()) == pytest.approx([0, 0, 0, 0], abs=1e-15)


def test_other_noise_of_the_same_kind_is_close_and_blur_or_flat_colour_is_far():
    picture, hole = texture(0), square()
    same = r.realism(picture, filled(picture, texture(1), hole), hole)
    blurred = ndimage.gaussian_filter(picture, (2, 2, 0))
    smooth = r.realism(picture, filled(picture, blurred, hole), hole)
    flat = r.realism(picture, filled(picture, np.full_like(picture, 128), hole), hole)
    for name in ("gradient", "spectrum", "entropy", "kernel"):
        assert same[name] < 0.5 * smooth[name], name
        assert smooth[name] < flat[name], name


def test_gradient_distance_of_a_ramp_and_flat_colour_is_the_slope():
    ramp = np.repeat(np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))[..., None], 3, 2)
    hole = square(64, 16)
    assert r.gradient_distance(ramp, np.zeros_like(ramp), hole) == pytest.approx(3.0)


def test_radial_power_of_white_noise_is_its_variance_in_every_band():
    rng = np.random.default_rng(3)
    noise = np.repeat(rng.normal(128, 20, (256, 256, 1)).round().astype(np.uint8), 3, 2)
    power = r.radial_power(noise, square(256, 16))
    assert power[4:] == pytest.approx(400.0, rel=0.12)


def test_spectrum_distance_of_half_the_contrast_is_six_decibels():
    picture, hole = texture(smooth=0.0), square()
    half = np.clip((picture.astype(float) - 128) / 2 + 128, 0, 255).round().astype(np.uint8)
    assert r.spectrum_distance(picture, half, hole) == pytest.approx(6.0, abs=0.25)


def test_contrast_entropy_is_zero_for_flat_colour_and_one_bit_for_a_chequerboard():
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert r.contrast_entropy(flat, square(64, 8)) == 0.0
    chequers = flat + (np.indices((64, 64)).sum(0) % 2 * 60).astype(np.uint8)[..., None]
    assert r.contrast_entropy(chequers, square(64, 8)) == pytest.approx(1.0, abs=1e-3)
    assert r.entropy_distance(flat, chequers, square(64, 8)) == pytest.approx(1.0, abs=1e-3)


def test_kernel_distance_sees_colour_and_texture_but_not_place():
    picture, hole = texture(0, smooth=1.5), square()
    moved = filled(picture, np.roll(picture, 31, 1), hole)
    red = picture.copy()
    red[..., 0] = np.minimum(red[..., 0].astype(int) + 60, 255)
    finer = filled(picture, texture(4, smooth=0.3), hole)
    same = abs(r.kernel_distance(picture, moved, hole))
    assert r.kernel_distance(picture, filled(picture, red, hole), hole) > 5 * same
    assert r.kernel_distance(picture, finer, hole) > 5 * same


@given(n=st.integers(2, 20), d=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_polynomial_mmd_is_symmetric_and_zero_for_equal_samples(n, d, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, d))
    assert r.polynomial_mmd(a, a) == 0.0
    assert r.polynomial_mmd(a, b) == pytest.approx(r.polynomial_mmd(b, a))


def test_polynomial_mmd_of_two_points_each_is_what_the_formula_says():
    a, b = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    k = lambda x, y: (x * y + 1.0) ** 3  # noqa: E731
    assert r.polynomial_mmd(a, b) == pytest.approx(k(0, 1) + k(2, 3) - k(0, 3) - k(1, 2))


def test_seam_of_an_edge_drawn_along_the_border_is_large_and_of_plain_noise_small():
    picture, hole = texture(smooth=0.0), square()
    shifted = filled(picture, np.clip(picture.astype(int) + 90, 0, 255).astype(np.uint8), hole)
    assert r.seam(picture, hole) < 0.1
    assert r.seam(shifted, hole) > 0.3


def test_seam_compares_the_step_across_the_border_with_those_beside_it():
    values = np.zeros((8, 12))
    values[:] = np.array([0, 1, 2, 3, 4, 5, 15, 16, 17, 18, 19, 20])
    hole = np.zeros((8, 12), bool)
    hole[:, 6:] = True
    assert r.border_differences(values, hole) == (10.0, 1.0)


def test_flat_pictures_have_no_seam():
    flat = np.full((64, 64, 3), 200, np.uint8)
    assert r.seam(flat, square(64, 16)) == 0.0


def test_what_lies_far_from_the_hole_does_not_matter():
    picture, made, hole = texture(0, 160), texture(1, 160), np.zeros((160, 160), bool)
    hole[61:99, 70:101] = True
    apart = {
        "gradient": r.gradient_distance(picture, made, hole),
        "spectrum": r.spectrum_distance(picture, made, hole),
        "entropy": r.entropy_distance(picture, made, hole),
        "kernel": r.kernel_distance(picture, made, hole),
        "seam": r.seam(made, hole),
    }
    assert r.realism(picture, made, hole) == pytest.approx(apart, rel=1e-4)


def test_a_hole_smaller_than_a_feature_cell_still_has_a_kernel_distance():
    picture, hole = texture(), np.zeros((96, 96), bool)
    hole[40:50, 30:43] = True
    assert np.isfinite(list(r.realism(picture, texture(1), hole).values())).all()


@pytest.mark.parametrize("shape", [(96, 95), (1, 1)])
def test_wrong_shapes_and_empty_holes_are_refused(shape):
    with pytest.raises(ValueError, match="shapes differ"):
        r.realism(texture(), texture(), np.ones(shape, bool))
    with pytest.raises(ValueError, match="empty"):
        r.realism(texture(), texture(), np.zeros((96, 96), bool))
    with pytest.raises(ValueError, match="no border"):
        r.seam(texture(), np.ones((96, 96), bool))
