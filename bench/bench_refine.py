"""A selection of 96 × 96 in a picture of 2000 × 1500 through a real daemon: time and memory.

Starts a daemon of its own, sends the same request several times with different seeds, and prints a
Markdown table; ``--json FILE`` keeps every job's figures.

    python bench/bench_refine.py [--jobs N] [--side PIXELS] [--threads N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageOps

from maskgit_daemon.connection_file import maskgit_command
from maskgit_refine.client import Client, Result, connect

PHOTO = Path(__file__).parents[1] / "examples" / "mountain.jpg"
CANVAS = (2000, 1500)
STEPS = 8
READY_SECONDS = 60.0


def machine() -> str:
    """Processor, how many of it, and how busy others keep them."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next(
            (x.partition(":")[2].strip() for x in lines if x.startswith("model name")), name
        )
    busy = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"{name}, {psutil.cpu_count()} cores, load {busy} at the start"


def start(home: Path, options: list[str]) -> tuple[subprocess.Popen[bytes], Client, float]:
    """A daemon, a client of it, and the seconds from the one's start to the other's welcome."""
    began = time.perf_counter()
    process = subprocess.Popen([*maskgit_command(), "daemon", *options], stderr=subprocess.DEVNULL)
    while not (home / "connection.json").exists():
        if process.poll() is not None or time.perf_counter() - began > READY_SECONDS:
            raise SystemExit("The daemon did not start.")
        time.sleep(0.005)
    client = connect(home)
    return process, client, time.perf_counter() - began


def job(client: Client, picture: np.ndarray[Any, Any], side: int, seed: int) -> dict[str, float]:
    """One request from plan to result, in seconds."""
    width, height = CANVAS
    bounds = ((width - side) // 2, (height - side) // 2, side, side)
    began = time.perf_counter()
    plan = client.plan("starter", bounds, CANVAS)
    left, top, wide, tall = plan.window
    window = np.ascontiguousarray(picture[top : top + tall, left : left + wide])
    selection = np.zeros((tall, wide), np.uint8)
    y, x = bounds[1] - top, bounds[0] - left
    selection[y : y + side, x : x + side] = 255
    *_, result = client.refine(
        window.tobytes(), selection.tobytes(), wide, tall, steps=STEPS, seed=seed
    )
    seconds = time.perf_counter() - began
    if not isinstance(result, Result):
        raise SystemExit("A job did not succeed.")
    inside, runtime = result.info["seconds"], result.info["runtime_seconds"]
    return {"client": seconds, "daemon": inside, "runtime": runtime, "outside": inside - runtime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=12)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    told = machine()
    with Image.open(PHOTO) as photo:
        picture = np.asarray(ImageOps.fit(photo.convert("RGBA"), CANVAS))
    threads = ["--threads", str(options.threads)] if options.threads else []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ["MASKGIT_HOME"] = str(home)
        process, client, ready = start(home, ["--device", "cpu", *threads])
        with client:
            rss = psutil.Process(process.pid).memory_info
            first = job(client, picture, options.side, seed=0)
            after_one = rss().rss
            jobs = [job(client, picture, options.side, seed) for seed in range(1, options.jobs + 1)]
            after_all = rss().rss
            client.shutdown()
        process.wait()

    def of(name: str) -> str:
        times = sorted(one[name] for one in jobs)
        return f"{statistics.median(times):.3f} s ({times[0]:.3f} … {times[-1]:.3f})"

    rows = [
        ("daemon ready after its start", "3 s", f"{ready:.2f} s"),
        ("first job, client", "", f"{first['client']:.3f} s"),
        ("request to result, in the daemon", "0.4 s", of("daemon")),
        ("of it outside ONNX Runtime", "0.05 s", of("outside")),
        ("plan, request and result, seen by the client", "", of("client")),
        ("memory (RSS), starter loaded and one job done", "400 MB", f"{after_one / 1e6:.0f} MB"),
        (f"memory after {len(jobs) + 1} jobs", "", f"{after_all / 1e6:.0f} MB"),
    ]
    print(f"{told}; Python {platform.python_version()}; starter, {STEPS} steps,")
    print(f"selection {options.side} × {options.side} in {CANVAS[0]} × {CANVAS[1]}; ", end="")
    print(f"median (least … most) of {len(jobs)} jobs\n")
    print("| what | at most | measured |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    if options.json:
        facts = {"machine": told, "ready": ready, "rss": [after_one, after_all], "jobs": jobs}
        options.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
