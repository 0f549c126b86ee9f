"""Make the pictures of docs/outpainting.md anew, with the model that ships."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.extend import Sides
from maskgit_daemon.extend_here import extend_here
from maskgit_daemon.rank import best
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Model, load_model

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "pictures"
SIZE = (384, 256)
HOLE = (208, 160, 96, 80)
"""Left, top, width, height of the part that is made again, in the picture at ``SIZE``."""
VIEW = (152, 96, 208, 160)
"""What is shown of it."""
CLASSES = ("water", "rock", "foliage", "sky")

Bytes = NDArray[np.uint8]


def source() -> Bytes:
    """The example picture, reduced, RGBA (256,384,4)."""
    image = Image.open(HERE / "mountain.jpg").convert("RGBA")
    return np.asarray(image.resize(SIZE, Image.Resampling.LANCZOS))


def save(name: str, pixels: Bytes) -> None:
    """Write a JPEG of at most 150 KB."""
    OUT.mkdir(parents=True, exist_ok=True)
    for quality in (92, 85, 75, 60):
        path = OUT / f"outpainting-{name}.jpg"
        Image.fromarray(pixels[..., :3]).save(path, quality=quality, optimize=True)
        if path.stat().st_size <= 150_000:
            return


def sheet(cuts: list[Bytes], titles: list[str]) -> Bytes:
    """Pictures side by side, doubled, a title under each."""
    tiles = []
    for cut, title in zip(cuts, titles, strict=True):
        height, width = cut.shape[:2]
        tile = Image.new("RGB", (width + 8, height + 18), "white")
        tile.paste(Image.fromarray(np.ascontiguousarray(cut[..., :3])), (4, 4))
        ImageDraw.Draw(tile).text((4, height + 5), title, fill="black")
        tiles.append(np.asarray(tile))
    return np.hstack(tiles)


def made_again(model: Model, pixels: Bytes, **fields: Any) -> list[tuple[Bytes, float]]:
    """The part of the picture to show, for each variant, and its score."""
    left, top, width, height = HOLE
    selection = np.zeros(pixels.shape[:2], np.uint8)
    selection[top : top + height, left : left + width] = 255
    shown = []
    for patch in refine(model, RefineRequest(pixels, selection, **fields)):
        out = pixels.copy()
        out[top : top + height, left : left + width, :3] = patch.pixels[..., :3]
        shown.append((view(out), patch.info["score"]))
    return shown


def view(pixels: Bytes) -> Bytes:
    left, top, width, height = VIEW
    return pixels[top : top + height, left : left + width]


def main() -> None:
    """Make them all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = ("extend", "panorama", "variants", "more", "classes")
    parser.add_argument("--only", choices=names, action="append")
    parser.add_argument("--bundle", type=Path, default=STARTER)
    parser.add_argument("--seed", type=int, default=4)
    told = parser.parse_args()
    wanted = told.only or names
    model = load_model(load_bundle(told.bundle))
    pixels = source()
    fields: dict[str, Any] = {"seed": told.seed, "steps": 12}
    if "extend" in wanted:
        save("extend", extend_here(model, pixels, Sides(96, 0, 96, 0), **fields))
    if "panorama" in wanted:
        small = np.ascontiguousarray(pixels[:, 64:320])
        save("panorama", extend_here(model, small, Sides(448, 0, 448, 0), **fields))
    if "variants" in wanted:
        shown = made_again(model, pixels, variants=4, **fields)
        scores = [score for _, score in shown]
        titles = [f"{score:.2f}" for score in scores]
        titles[best(scores)] += "  best"
        save("variants", sheet([cut for cut, _ in shown], titles))
    if "more" in wanted:
        each = {f"--more {more}": made_again(model, pixels, more=more, **fields) for more in (0, 8)}
        cuts = [view(pixels), *(shown[0][0] for shown in each.values())]
        save("more", sheet(cuts, ["the picture", *each]))
    if "classes" in wanted:
        each = {
            name: made_again(model, pixels, label=name, guidance_scale=3.0, **fields)
            for name in CLASSES
        }
        save("classes", sheet([shown[0][0] for shown in each.values()], list(each)))


if __name__ == "__main__":
    main()
