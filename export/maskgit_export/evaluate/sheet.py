"""Contact sheets: fills beside the original and the best peer, in the order of their seeds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

GAP, HEAD, QUALITY = 6, 22, 90
"""Pixels between pictures and for headings; JPEG quality."""


class Row(NamedTuple):
    """One fill: a caption and pictures (H,W,3) of one size, left to right."""

    caption: str
    pictures: tuple[Pixels, ...]


def contact_sheet(rows: Sequence[Row], headings: Sequence[str], columns: int = 2) -> Image.Image:
    """All rows under each other, in ``columns`` blocks side by side, at 100 %."""
    height, width = rows[0].pictures[0].shape[:2]
    block = len(headings) * (width + GAP) + 2 * GAP
    lines = -(-len(rows) // columns)
    line = HEAD + height + GAP
    sheet = Image.new("RGB", (columns * block, HEAD + GAP + lines * line), (32, 32, 32))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for column in range(columns):
        for number, heading in enumerate(headings):
            place = (column * block + GAP + number * (width + GAP), GAP)
            draw.text(place, heading, (255, 255, 255), font)
    for index, row in enumerate(rows):
        left = index % columns * block + GAP
        top = HEAD + GAP + index // columns * line
        draw.text((left, top), row.caption, (190, 190, 190), font)
        for number, picture in enumerate(row.pictures):
            sheet.paste(Image.fromarray(picture), (left + number * (width + GAP), top + HEAD))
    return sheet


def outlined(pixels: Pixels, hole: NDArray[np.bool_]) -> Pixels:
    """The picture with its hole in flat grey."""
    out = pixels.copy()
    out[hole] = 128
    return out


def save_picture(path: Path, picture: Image.Image) -> None:
    """Write ``path`` (JPEG or PNG by its name) whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    picture.save(partial, quality=QUALITY)
    os.replace(partial, path)
