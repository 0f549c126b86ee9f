"""What a painter would pick instead: the fills of OpenCV, scikit-image and G'MIC, each timed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.restoration import inpaint_biharmonic

from maskgit_daemon.errors import MaskgitError

Pixels = NDArray[np.uint8]
Hole = NDArray[np.bool_]
Fill = Callable[[Pixels, Hole], tuple[Pixels, float]]

RADIUS = 5.0
"""Neighbourhood of OpenCV's two methods, pixels."""

GMIC_ARGUMENTS = {"inpaint": "7,16,0.1,1,8,0,0.05,10,1", "inpaint_matchpatch": "0,9,10,5,1"}
"""Patch size, lookup and blending as G'MIC's own plug-in sets them by default."""

GMIC_SECONDS = 300


def mean_fill(pixels: Pixels, hole: Hole) -> Pixels:
    """Everything in the mean colour of what is known: the floor."""
    out = pixels.copy()
    out[hole] = pixels[~hole].mean(0).round().astype(np.uint8)
    return out


def telea(pixels: Pixels, hole: Hole) -> Pixels:
    """OpenCV's fast marching (Telea 2004)."""
    return cv2.inpaint(pixels, hole.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA).astype(np.uint8)


def navier_stokes(pixels: Pixels, hole: Hole) -> Pixels:
    """OpenCV's fluid dynamics (Bertalmio et al. 2001)."""
    return cv2.inpaint(pixels, hole.astype(np.uint8), RADIUS, cv2.INPAINT_NS).astype(np.uint8)


def biharmonic(pixels: Pixels, hole: Hole) -> Pixels:
    """scikit-image's biharmonic equation (Damelin & Hoang 2018)."""
    made = inpaint_biharmonic(pixels, hole, channel_axis=-1)
    return np.asarray(np.clip(made, 0, 1) * 255 + 0.5).astype(np.uint8)


def _timed(method: Callable[[Pixels, Hole], Pixels]) -> Fill:
    def fill(pixels: Pixels, hole: Hole) -> tuple[Pixels, float]:
        started = time.perf_counter()
        made = method(pixels, hole)
        seconds = time.perf_counter() - started
        return np.where(hole[..., None], made, pixels), seconds

    return fill


def _gmic(command: str) -> Fill:
    def fill(pixels: Pixels, hole: Hole) -> tuple[Pixels, float]:
        with tempfile.TemporaryDirectory() as folder:
            picture, mask, out = (Path(folder) / f"{n}.png" for n in ("in", "mask", "out"))
            # Its patch search may copy from the hole itself: it starts from the better guess.
            Image.fromarray(telea(pixels, hole)).save(picture)
            Image.fromarray(hole.astype(np.uint8) * 255).save(mask)
            words = ["gmic", str(picture), str(mask), "tic"]
            words += [f"{command}[0]", f"[1],{GMIC_ARGUMENTS[command]}", "toc"]
            words += ["keep[0]", "round", "cut", "0,255", "output", str(out)]
            result = subprocess.run(words, capture_output=True, text=True, timeout=GMIC_SECONDS)
            if result.returncode or not out.is_file():
                said = (result.stderr.strip().splitlines() or ["nothing"])[-1]
                raise MaskgitError(f"G'MIC's {command} failed ({said}); leave it out with --peers.")
            with Image.open(out) as made:
                filled = np.asarray(made.convert("RGB"))
            return np.where(hole[..., None], filled, pixels), _elapsed(result.stderr)

    return fill


def _elapsed(log: str) -> float:
    """Seconds between ``tic`` and ``toc``: the filter alone, without start-up and files."""
    words = log.partition("Elapsed time: ")[2].split()
    if not words:
        raise MaskgitError("G'MIC did not say how long it took; leave it out with --peers.")
    return float(words[0])


PEERS: Mapping[str, Fill] = {
    "mean": _timed(mean_fill),
    "telea": _timed(telea),
    "navier-stokes": _timed(navier_stokes),
    "biharmonic": _timed(biharmonic),
    "gmic-inpaint": _gmic("inpaint"),
    "gmic-matchpatch": _gmic("inpaint_matchpatch"),
}
"""Fills by name: (pixels (H,W,3) uint8, hole (H,W)) → (pixels, seconds); outside stays as it is."""

DIFFUSION = ("mean", "telea", "navier-stokes", "biharmonic")
"""Peers that spread colours; the others copy patches."""


def available() -> tuple[str, ...]:
    """The peers that can run on this machine: G'MIC's need the program ``gmic``."""
    found = shutil.which("gmic") is not None
    return tuple(name for name in PEERS if found or not name.startswith("gmic"))
