"""Plots of what was measured; drawn off screen, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt

from maskgit_export.evaluate.intervals import Interval
from maskgit_export.evaluate.realism import UNITS


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial.png")
    figure.savefig(partial, dpi=110, bbox_inches="tight")
    plt.close(figure)
    os.replace(partial, path)


def plot_fills(table: Mapping[str, Mapping[str, Interval]], title: str, path: Path) -> None:
    """One panel a measure, one dot a method with its 95 % interval; ours stands out."""
    figure, axes = plt.subplots(1, len(UNITS) + 1, figsize=(17, 0.4 * len(table) + 1.4))
    measures = [*UNITS, "seconds"]
    for axis, measure in zip(axes, measures, strict=True):
        for row, intervals in enumerate(table.values()):
            found = intervals[measure]
            axis.plot([found.low, found.high], [row, row], color=f"C{int(row > 0)}", lw=2)
            axis.plot(found.value, row, "o", color=f"C{int(row > 0)}")
        axis.set_yticks(range(len(table)), list(table) if axis is axes[0] else [""] * len(table))
        axis.set_ylim(len(table) - 0.5, -0.5)
        axis.set_xlabel(UNITS.get(measure, "seconds (median)"))
        axis.set_title(measure)
        axis.grid(axis="x", alpha=0.3)
        if measure == "seconds":
            axis.set_xscale("log")
    figure.suptitle(title, y=1.02)
    figure.tight_layout()
    save(figure, path)


def plot_lines(
    lines: Mapping[str, Sequence[tuple[float, float]]],
    path: Path,
    *,
    title: str,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Named lines of (x, y) points in one panel."""
    figure, axis = plt.subplots(figsize=(6.4, 4.2))
    for name, points in lines.items():
        axis.plot([p[0] for p in points], [p[1] for p in points], "o-", ms=4, label=name)
    if log_x:
        axis.set_xscale("log", base=2)
    if log_y:
        axis.set_yscale("log")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_title(title)
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, path)


def plot_panels(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    path: Path,
    *,
    title: str,
    x: str,
    log_x: bool = False,
) -> None:
    """Panels side by side by their y label, each with the same named lines."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.0 * len(panels), 3.8), squeeze=False)
    for axis, (label, lines) in zip(axes[0], panels.items(), strict=True):
        for name, points in lines.items():
            axis.plot([p[0] for p in points], [p[1] for p in points], "o-", ms=3, label=name)
        if log_x:
            axis.set_xscale("log", base=2)
        axis.set_xlabel(x)
        axis.set_title(label)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    save(figure, path)
