"""The tokenizer's measures read what they claim on pictures made for the purpose."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from maskgit_export.evaluate import reconstruction as rec
from maskgit_export.evaluate.coders import to_image, to_pixels


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(5)
    return [rng.normal(128, 30, (128, 128, 3)).clip(0, 255).astype(np.uint8) for _ in range(24)]


class Exact:
    """A tokenizer that forgets nothing: its tokens index the pictures it has seen."""

    stride, codes = 8, 512

    def __init__(self):
        self.seen = []

    def encode(self, image):
        self.seen = list(image)
        return np.broadcast_to(np.arange(len(image))[:, None, None], (len(image), 16, 16)).copy()

    def decode(self, tokens):
        return np.stack([self.seen[i] for i in tokens[:, 0, 0]])


def test_a_tokenizer_that_forgets_nothing_is_perfect(crops):
    report = rec.judge_tokenizer(Exact(), crops[:8], batch=4)
    assert (report.psnr, report.ssim, report.grid, report.grid_worst) == (99.0, 1.0, 1.0, 1.0)
    assert report.bands == report.bands_median == (1.0, 1.0, 1.0)
    assert report.perplexity == pytest.approx(4.0)
    assert report.perplexity_share == pytest.approx(4 / 512)


def test_psnr_of_one_grey_level_everywhere():
    a = np.full((16, 16, 3), 100, np.uint8)
    assert rec.psnr(a, a + 1) == pytest.approx(20 * np.log10(255))


def test_perplexity_of_uniform_tokens_is_their_number_and_of_one_code_is_one():
    assert rec.perplexity(np.arange(64).reshape(8, 8), 1024) == pytest.approx(64.0)
    assert rec.perplexity(np.zeros((8, 8), np.int64), 1024) == pytest.approx(1.0)


@pytest.mark.parametrize(("frequency", "band"), [(12, 0), (24, 1), (48, 2)])
def test_a_wave_has_its_energy_in_its_octave(frequency, band):
    wave = 128 + 50 * np.sin(2 * np.pi * frequency / 128 * np.arange(128))
    picture = np.broadcast_to(wave[None, :, None], (128, 128, 3)).astype(np.uint8)
    energy = rec.band_energy(rec.power_spectra([picture]))[0]
    assert energy[band] / energy.sum() > 0.99


def test_blur_takes_the_highest_octave_first(crops):
    made = [np.asarray(Image.fromarray(c).filter(ImageFilter.GaussianBlur(0.8))) for c in crops]
    low, middle, high = rec.compare(crops, made)["bands"]
    assert low > middle > high
    assert high < 0.35


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_drawn_grid_raises_the_grid_and_plain_noise_does_not(crops, period):
    lines = np.zeros((128, 128, 1))
    lines[::period] = lines[:, ::period] = 8.0
    gridded = [(c + lines).clip(0, 255).astype(np.uint8) for c in crops]
    rng = np.random.default_rng(6)
    noisy = [(c + rng.normal(0, 8, c.shape)).clip(0, 255).astype(np.uint8) for c in crops]
    assert rec.compare(crops, gridded)["grid_worst"] > 1.5
    assert rec.compare(crops, noisy)["grid_worst"] < 1.15


def test_the_grid_is_found_wherever_it_is_aligned(crops):
    lines = np.zeros((128, 128, 1))
    lines[5::8] = 8.0
    gridded = [(c + lines).clip(0, 255).astype(np.uint8) for c in crops]
    assert rec.compare(crops, gridded)["grid"] > 1.2


def test_pixels_survive_the_way_to_the_network_and_back(crops):
    batch = np.stack(crops[:2])
    image = to_image(batch)
    assert image.dtype == np.float32
    assert image.shape == (2, 3, 128, 128)
    assert np.array_equal(to_pixels(image), batch)
    assert np.array_equal(
        to_pixels(image * 3 - 1)[0, 0, 0], np.clip(3.0 * batch[0, 0, 0] - 255, 0, 255)
    )


def test_crops_that_have_no_grid_frequency_are_refused():
    with pytest.raises(ValueError, match="multiples of 64"):
        rec.grid_peaks(np.ones((1, 100, 128)))
