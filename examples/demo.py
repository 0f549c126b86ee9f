"""Refine a selection of a real picture through the daemon; leave a before/after picture."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from PIL import Image

from maskgit_daemon.commands.refine import run_job
from maskgit_daemon.connection_file import write_launcher
from maskgit_daemon.frame import selection_bounds
from maskgit_daemon.images import Picture, compose, read_picture, read_selection, write_picture
from maskgit_refine.client import connect
from maskgit_refine.connection import NoDaemonError, home_folder
from maskgit_refine.launch import start_daemon

HERE = Path(__file__).parent
OUT = HERE.parent / "out" / "demo.png"
MARGIN = 120


def before_after(before: Picture, after: Picture, box: tuple[int, int, int, int]) -> Picture:
    """Both pictures round ``box`` (left, top, right, bottom), doubled and side by side."""
    left, top, right, bottom = box
    cuts = [p.pixels[top:bottom, left:right] for p in (before, after)]
    gap = np.full((bottom - top, 8, 3), 255, np.uint8)
    sheet = Image.fromarray(np.hstack([cuts[0], gap, cuts[1]]))
    doubled = sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.LANCZOS)
    return Picture(np.asarray(doubled), "RGB", {})


def main() -> None:
    """Start a daemon if none runs, refine, save, and stop the daemon that was started."""
    picture = read_picture(HERE / "mountain.jpg")
    mask = read_selection(HERE / "mountain-selection.png", picture.size)
    started = False
    try:
        client = connect()
    except NoDaemonError:
        write_launcher(home_folder())
        client = start_daemon()
        started = True
    with client:
        began = time.perf_counter()
        fields = {"bundle": "starter", "strength": 1.0, "steps": 8, "seed": 4}
        result, plan = run_job(client, picture, mask, fields)
        seconds = time.perf_counter() - began
        if started:
            client.shutdown()
    patch = result.patches[0]
    pixels = np.frombuffer(patch.pixels, np.uint8).reshape(patch.height, patch.width, 4)
    after = compose(picture, pixels, plan.window[0] + patch.left, plan.window[1] + patch.top)
    bounds = selection_bounds(mask)
    box = (
        max(0, bounds.left - MARGIN),
        max(0, bounds.top - MARGIN),
        min(picture.size[0], bounds.left + bounds.width + MARGIN),
        min(picture.size[1], bounds.top + bounds.height + MARGIN),
    )
    OUT.parent.mkdir(exist_ok=True)
    write_picture(OUT, before_after(picture, after, box))
    outside = mask == 0
    assert np.array_equal(picture.pixels[outside], after.pixels[outside])
    print(f"Refined {int((mask > 0).sum())} pixels in {seconds:.2f} s.")
    print(f"Before and after: {OUT}")


if __name__ == "__main__":
    main()
