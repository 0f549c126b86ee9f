"""Options that the commands of ``maskgit evaluate`` share, alone and in blocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)

DATA = click.option("--data", type=FOLDER, required=True, help="Pictures never trained on.")
PHOTOS = click.option("--photos", type=FOLDER, required=True, help="The pictures trained on.")
HOLES = click.option(
    "--holes", type=click.IntRange(1), default=50, show_default=True, help="Of a kind."
)
PICTURES = click.option("--pictures", type=click.IntRange(1), default=16, show_default=True)
BUNDLE = click.option("--bundle", type=FOLDER, required=True, help="A model bundle.")
PRECISION = click.option(
    "--precision", default="auto", show_default=True, help="Of the bundle's graphs."
)
THREADS = click.option("--threads", type=click.IntRange(1), help="Of the model; default: all.")
STEPS = click.option("--steps", type=click.IntRange(1, 256), default=8, show_default=True)
SEED = click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
OUT = click.option("--out", type=NEW_FOLDER, help="Write JSON and plots here.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

Command = Callable[..., Any]


def report_options(command: Command) -> Command:
    """``--seed``, ``--out`` and ``--json``, by these names (``as_json``)."""
    return SEED(OUT(JSON(command)))


def model_options(command: Command) -> Command:
    """``--bundle``, ``--precision``, ``--threads``: the command gets the ``model``, on the CPU."""

    @BUNDLE
    @PRECISION
    @THREADS
    @wraps(command)
    def run(bundle: Path, precision: str, threads: int | None = None, **rest: Any) -> Any:
        from maskgit_daemon.bundle import load_bundle
        from maskgit_daemon.runtime import load_model

        return command(model=load_model(load_bundle(bundle), "cpu", precision, threads), **rest)

    return run


def hole_options(command: Command) -> Command:
    """``--side`` and ``--share`` of the windows with holes."""
    side = click.option("--side", type=click.IntRange(64), default=256, show_default=True)
    share = click.option(
        "--share",
        type=(click.FloatRange(0.01, 0.9), click.FloatRange(0.01, 0.9)),
        default=(0.1, 0.3),
        show_default=True,
        help="Smallest and largest part of the window that is hole (not for centre and right).",
    )
    return side(share(command))


def fill_options(command: Command) -> Command:
    """How holes are filled: the command gets ``settings``."""

    @STEPS
    @click.option("--temperature", type=float, default=1.0, show_default=True)
    @click.option("--choice-temperature", type=float, default=4.5, show_default=True)
    @wraps(command)
    def run(steps: int, temperature: float, choice_temperature: float, **rest: Any) -> Any:
        from maskgit_export.evaluate.fills import Settings

        settings = Settings(
            steps=steps, temperature=temperature, choice_temperature=choice_temperature
        )
        return command(settings=settings, **rest)

    return run
