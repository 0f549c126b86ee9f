"""``maskgit refine`` as the tests run it: on real files, against a daemon of their own."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maskgit_daemon.connection_file import maskgit_command

PHOTO = Path(__file__).parents[2] / "examples" / "mountain.jpg"
SECONDS = 240


@contextmanager
def own_daemon(folder: Path) -> Iterator[Path]:
    """A daemon whose files lie in ``folder``, for the time being."""
    started = maskgit(folder, "daemon", "--detach", "--device", "cpu", "--threads", "1")
    assert started.returncode == 0, started.stderr
    yield folder
    assert maskgit(folder, "daemon", "--stop").stdout == "The daemon has ended.\n"


def environment(home: Path) -> dict[str, str]:
    return dict(os.environ, MASKGIT_HOME=str(home))


def maskgit(home: Path, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*maskgit_command(), *map(str, arguments)],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **options,
    )


def photo(mode: str = "RGB", size: tuple[int, int] = (200, 150)) -> Image.Image:
    """A cut of a real photo; with alpha, its left third is transparent."""
    with Image.open(PHOTO) as image:
        cut = image.crop((300, 200, 300 + size[0], 200 + size[1])).convert(mode)
    if mode.endswith("A"):
        alpha = np.full((size[1], size[0]), 255, np.uint8)
        alpha[:, : size[0] // 3] = 0
        cut.putalpha(Image.fromarray(alpha))
    return cut


def mask_of(size: tuple[int, int], box: tuple[int, int, int, int], value: int = 255) -> Image.Image:
    """Black, and white in ``box`` (left, top, right, bottom)."""
    mask = Image.new("L", size)
    mask.paste(value, box)
    return mask


def picture_and_mask(folder: Path) -> tuple[Path, Path]:
    """Files of a picture and of a selection in it."""
    image, mask = folder / "photo.png", folder / "mask.png"
    photo().save(image)
    mask_of((200, 150), (80, 60, 120, 100)).save(mask)
    return image, mask


def pixels(path: Path, mode: str | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as image:
            return np.asarray(image.convert(mode or image.mode))


def refined(home: Path, image: Path, out: Path, *options: str | Path) -> dict[str, Any]:
    """Run it in two steps; its facts."""
    done = maskgit(home, "refine", image, "-o", out, "--steps", "2", "--json", *options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def refusal(home: Path, *arguments: str | Path) -> str:
    done = maskgit(home, "refine", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("maskgit: ")
    assert line.endswith(".")
    return line
