"""Every peer fills the hole, keeps what lies outside it and says how long it took."""

import numpy as np
import pytest

from maskgit_export.evaluate import peers


@pytest.fixture(scope="module")
def job():
    ramp = np.add.outer(np.arange(64), np.arange(64))
    picture = np.stack([ramp + 40, 200 - ramp, ramp // 2 + 60], 2).astype(np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[20:40, 24:44] = True
    shown = picture.copy()
    shown[hole] = 255
    return picture, shown, hole


@pytest.mark.parametrize("name", peers.available())
def test_a_peer_fills_the_hole_and_keeps_the_rest(job, name):
    picture, shown, hole = job
    made, seconds = peers.PEERS[name](shown, hole)
    assert made.dtype == np.uint8
    assert np.array_equal(made[~hole], picture[~hole])
    assert not (made[hole] == 255).all(1).any()
    assert seconds >= 0
    error = np.abs(made[hole].astype(int) - picture[hole]).mean()
    assert error < 30


@pytest.mark.parametrize("name", peers.available())
def test_a_hole_at_the_edge_of_the_picture_is_filled_too(job, name):
    picture, _, _ = job
    hole = np.zeros((64, 64), bool)
    hole[40:, 30:] = hole[:20, :9] = True
    made, _ = peers.PEERS[name](np.where(hole[..., None], 255, picture).astype(np.uint8), hole)
    assert np.array_equal(made[~hole], picture[~hole])
    assert np.abs(made[hole].astype(int) - picture[hole]).mean() < 40


def test_mean_fill_is_the_mean_of_what_is_known(job):
    _, shown, hole = job
    made, _ = peers.PEERS["mean"](shown, hole)
    assert made[30, 30] == pytest.approx(shown[~hole].mean(0), abs=0.5)


def test_without_the_program_gmic_its_fills_are_left_out(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert peers.available() == peers.DIFFUSION
