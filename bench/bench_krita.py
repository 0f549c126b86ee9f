"""What Krita adds: from the trigger to the result on the canvas, less the daemon's own time.

Runs the real Krita under Xvfb with a profile of its own, a first job to warm everything up and then
the counted ones. Prints a table and, with ``--json FILE``, writes every job's figures.

    python bench/bench_krita.py [PICTURE] [--jobs N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.krita.launch import Profile, missing_parts  # noqa: E402

OUTPUT = ROOT / "out" / "krita" / "bench"
CANVAS = (2000, 1500)
CASES = {
    "96×96, 8 steps": {"selection": (900, 700, 96, 96), "steps": 8},
    # The daemon's time is taken off: what remains is moving 3 megapixels there and back.
    "2000×1500, 1 step": {"selection": (0, 0, *CANVAS), "steps": 1},
}
TIMES = re.compile(r"Done in ([\d.]+) s, ([\d.]+) s of it in the daemon")


def measure(profile: Profile, picture: Path, case: dict[str, Any], jobs: int) -> list[Any]:
    """Run the scenario and return its jobs, the warming one left out."""
    report = profile.run("timed", OUTPUT, picture=str(picture), jobs=jobs, **case)
    for job in report["jobs"]:
        found = TIMES.match(job["message"])
        if found is None:
            raise SystemExit(f"A job did not succeed: {job['message']}")
        job["daemon"] = float(found[2])
        job["added"] = job["seconds"] - job["daemon"]
    return list(report["jobs"][1:])


def row(name: str, jobs: list[Any]) -> dict[str, Any]:
    """Medians of one selection's jobs; the handlers' and the loop's worst."""
    handlers = [time for job in jobs for time in job["handlers_ms"].values()]
    return {
        "selection": name,
        "trigger to canvas, s": round(statistics.median(job["seconds"] for job in jobs), 3),
        "in the daemon, s": round(statistics.median(job["daemon"] for job in jobs), 3),
        "added by Krita, s": round(statistics.median(job["added"] for job in jobs), 3),
        "longest handler, ms": max(wall for wall, _ in handlers),
        "of it on the processor, ms": max(processor for _, processor in handlers),
        "longest gap, ms": max(job["gap_ms"] for job in jobs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("--jobs", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    missing = missing_parts()
    if missing:
        raise SystemExit(f"Krita cannot be run here: install {', '.join(missing)}.")
    source = options.picture or min((ROOT / "examples").glob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        with Image.open(source) as photo:
            ImageOps.fit(photo.convert("RGB"), CANVAS).save(picture)
        profile = Profile(Path(folder) / "profile")
        profile.prepare()
        installed = profile.maskgit("krita", "install")
        if installed.returncode:
            raise SystemExit(installed.stderr)
        profile.run("nothing", Path(folder) / "warm")
        measured: dict[str, list[Any]] = {}
        try:
            for name, case in CASES.items():
                measured[name] = measure(profile, picture, case, options.jobs)
                for key, value in row(name, measured[name]).items():
                    print(f"{key:<28} {value}", flush=True)
                print()
        finally:
            profile.maskgit("daemon", "--stop")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
