"""Pictures of the guidance comparison: fidelity against realism, and a contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Pixels = NDArray[np.uint8]

GAP, HEAD = 3, 14


def plot_tradeoff(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Error at 16 px (across) against unrealism (up), 95 % intervals, a line a method."""
    figure, axes = plt.subplots(figsize=(9, 6), dpi=110)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colours = plt.get_cmap("tab10")
    for number, method in enumerate(methods):
        mine = sorted((r for r in rows if r["method"] == method), key=lambda r: r["strength"])
        middle = np.array([[row["error16_interval"][0], row["unrealism"][0]] for row in mine])
        low = np.array([[row["error16_interval"][1], row["unrealism"][1]] for row in mine])
        high = np.array([[row["error16_interval"][2], row["unrealism"][2]] for row in mine])
        axes.errorbar(
            middle[:, 0],
            middle[:, 1],
            xerr=np.abs([middle[:, 0] - low[:, 0], high[:, 0] - middle[:, 0]]),
            yerr=np.abs([middle[:, 1] - low[:, 1], high[:, 1] - middle[:, 1]]),
            fmt="o-" if len(mine) > 4 else "s",
            color=colours(number % 10),
            label=method,
            elinewidth=0.6,
            markersize=4,
        )
        for row, (x, y) in zip(mine, middle, strict=True):
            setting = row["options"].get("confidence", row["strength"])
            axes.annotate(f"{setting:g}", (x, y), (3, 3), textcoords="offset points", fontsize=7)
    axes.set_xlabel("colour error to the strokes, 16 px averages (0 … 255)")
    axes.set_ylabel("unrealism: five measures over plain inpainting's")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, format="png")
    plt.close(figure)


def contact_sheet(rows: Sequence[Sequence[Pixels]], heads: Sequence[str], path: Path) -> None:
    """Pictures of one size in a grid, a line of text over each column."""
    height, width = rows[0][0].shape[:2]
    size = (len(heads) * (width + GAP) - GAP, HEAD + len(rows) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * (width + GAP) + 2, 1), head, fill="black")
        for row, pictures in enumerate(rows):
            place = (column * (width + GAP), HEAD + row * (height + GAP))
            sheet.paste(Image.fromarray(pictures[column]), place)
    sheet.save(path, format="PNG")
