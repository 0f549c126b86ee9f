"""``maskgit evaluate studies``, ``classes`` and ``all``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.runtime import Model
from maskgit_export.commands.evaluate import data_command as judge_data
from maskgit_export.commands.evaluate import pictures_or_sentence, report, write_text
from maskgit_export.commands.evaluate import tokenizer as judge_tokenizer
from maskgit_export.commands.evaluate_fills import fills as judge_fills
from maskgit_export.commands.evaluate_fills import sheet as draw_sheet
from maskgit_export.commands.evaluate_options import (
    BUNDLE,
    DATA,
    HOLES,
    NEW_FOLDER,
    PHOTOS,
    PICTURES,
    PRECISION,
    SEED,
    model_options,
    report_options,
)
from maskgit_export.evaluate import studies as s
from maskgit_export.evaluate.fills import Settings, make_tasks
from maskgit_export.evaluate.pictures import native_windows, scene_windows
from maskgit_export.evaluate.plots import plot_lines, plot_panels
from maskgit_export.evaluate.realism import UNITS
from maskgit_export.evaluate.tables import report_as_text

STUDIES = ("schedules", "sampling", "ratios", "speed")


def numbers(text: str) -> tuple[float, ...]:
    """The numbers of a comma-separated list; raises :class:`MaskgitError`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise MaskgitError(f"{text!r} is not a list of numbers such as 1,2,4.") from None


def by_measure(
    rows: Sequence[s.ScheduleRow] | Sequence[s.SamplingRow], x: str, line: str
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Measure → value of the field ``line`` → points (field ``x``, measure), for the plots."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for measure, unit in UNITS.items():
        lines = panels[f"{measure} ({unit})"] = {}
        for row in rows:
            points = lines.setdefault(str(getattr(row, line)), [])
            points.append((getattr(row, x), getattr(row, measure)))
    return panels


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(STUDIES))
@model_options
@DATA
@PICTURES
@click.option("--side", type=click.IntRange(64), default=128, show_default=True)
@click.option("--steps", default="1,2,4,8,12,16,32", show_default=True)
@click.option("--schedules", default=",".join(s.SCHEDULES), show_default=True)
@click.option("--temperatures", default="0.6,0.8,0.9,1", show_default=True, help="Of the draw.")
@click.option("--choices", default="1,2,4.5,9", show_default=True, help="Of the ranking.")
@click.option("--ratios", default="0.5,0.6,0.7,0.8,0.9,0.95,0.99", show_default=True)
@click.option("--grids", default="16,32", show_default=True, help="Sides of grids to time, tokens.")
@report_options
def studies(
    names: tuple[str, ...],
    model: Model,
    data: Path,
    pictures: int,
    side: int,
    steps: str,
    schedules: str,
    temperatures: str,
    choices: str,
    ratios: str,
    grids: str,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Repeat the paper's studies: schedules × steps, mask ratios, speed; and sampling.

    NAMES: which of them; all if none is given.
    """
    values: dict[str, Any] = {"bundle": model.bundle.name, "precision": model.precision}
    wanted = names or STUDIES
    counts = [int(n) for n in numbers(steps)]
    tasks = pictures_or_sentence(make_tasks, data, "centre", pictures, side, (0.1, 0.3), seed)
    if "schedules" in wanted:
        chosen = schedules.split(",")
        with tqdm(total=len(chosen) * len(counts), desc="schedules", disable=as_json) as bar:
            found = s.study_schedules(model, tasks, chosen, counts, Settings(), bar.update)
        values["schedules"] = [asdict(row) for row in found]
        values["schedules found"] = s.schedule_sentence(found)
        if out is not None:
            panels = by_measure(found, "steps", "schedule")
            title = f"Schedule × steps, centre holes, {pictures} windows; less is better"
            plot_panels(panels, out / "schedules.png", title=title, x="steps", log_x=True)
    if "sampling" in wanted:
        draws, rankings = numbers(temperatures), numbers(choices)
        with tqdm(total=len(draws) * len(rankings), desc="sampling", disable=as_json) as bar:
            drawn = s.study_sampling(model, tasks, draws, rankings, Settings(), bar.update)
        values["sampling"] = [asdict(row) for row in drawn]
        values["sampling found"] = s.sampling_sentence(drawn)
        if out is not None:
            panels = by_measure(drawn, "temperature", "choice_temperature")
            title = f"Temperatures of the draw and the ranking, centre holes, {pictures} windows"
            plot_panels(panels, out / "sampling.png", title=title, x="temperature")
    if "ratios" in wanted:
        windows = pictures_or_sentence(native_windows, data, pictures, side, seed)
        shares = (0.0, *numbers(ratios))
        with tqdm(total=len(shares), desc="ratios", disable=as_json) as bar:
            rows = s.study_ratios(
                model, [w.pixels for w in windows], shares, Settings(), bar.update
            )
        values["ratios"] = [asdict(row) for row in rows]
        values["ratios found"] = s.ratio_sentence(rows)
        if out is not None:
            curves = {
                name: {"ours": [(r.ratio, getattr(r, name)) for r in rows]}
                for name in ("psnr", "ssim", "kernel")
            }
            title = "Reconstruction against the share of hidden tokens (0: tokenizer alone)"
            plot_panels(curves, out / "ratios.png", title=title, x="share hidden")
    if "speed" in wanted:
        sides = [int(n) for n in numbers(grids)]
        with tqdm(total=len(sides) * (len(counts) + 1), desc="speed", disable=as_json) as bar:
            times = s.study_speed(model, sides, counts, bar.update)
        values["speed"] = [asdict(row) for row in times]
        values["speed found"] = s.speed_sentence(times)
        if out is not None:
            lines = {
                f"{n * n} tokens": [(t.steps, t.seconds) for t in times if t.tokens == n * n]
                for n in sides
            }
            title = "Time of a whole grid; the last point of a line is one token a pass"
            labels = {"x": "passes", "y": "seconds"}
            plot_lines(lines, out / "speed.png", title=title, log_x=True, log_y=True, **labels)
    text = "\n".join(value for key, value in values.items() if key.endswith("found"))
    report(values, "studies", out, as_json, text)


@click.command()
@model_options
@DATA
@PHOTOS
@click.option("--minutes", type=float, default=3.0, show_default=True, help="To train the judge.")
@click.option("--windows", "count", type=click.IntRange(1), default=100, show_default=True)
@click.option("--guidance-scale", type=float, help="Of classifier-free guidance.")
@report_options
def classes(
    model: Model,
    data: Path,
    photos: Path,
    minutes: float,
    count: int,
    guidance_scale: float | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge edits by class: does a classifier see the class asked for in the hole?"""
    from maskgit_export.data import load_folder
    from maskgit_export.evaluate.classes import judge_classes
    from maskgit_export.evaluate.classifier import train_judge

    if model.bundle.condition.kind != "class":
        raise MaskgitError(f"The bundle {model.bundle.name} takes no classes; give one that does.")
    folder = pictures_or_sentence(load_folder, photos, max_side=384, scales=(1.0,))
    with tqdm(desc="classifier", disable=as_json) as bar:

        def show(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.2f}")
            bar.update()

        try:
            judge = train_judge(folder, minutes, seed, show)
        except ValueError as error:
            raise MaskgitError(f"{photos} cannot be used: {error}; add categories.") from None
    windows = pictures_or_sentence(scene_windows, data, count, 256, seed)
    with tqdm(total=2 * len(windows), desc="edits", disable=as_json) as bar:
        found = judge_classes(model, judge, windows, guidance_scale, seed, bar.update)
    report({"bundle": model.bundle.name, **found.as_dict()}, "classes", out, as_json)


@click.command("all")
@BUNDLE
@DATA
@PHOTOS
@click.option("--out", type=NEW_FOLDER, required=True)
@HOLES
@PICTURES
@PRECISION
@SEED
@click.pass_context
def everything(
    context: click.Context,
    bundle: Path,
    data: Path,
    photos: Path,
    out: Path,
    holes: int,
    pictures: int,
    precision: str,
    seed: int,
) -> None:
    """Judge a bundle with everything there is, into one folder."""
    shared = {"bundle": bundle, "data": data, "precision": precision, "seed": seed, "out": out}
    context.invoke(judge_data, photos=photos, data=data, out=out)
    context.invoke(judge_tokenizer, **shared)
    context.invoke(judge_fills, photos=photos, holes=holes, **shared)
    context.invoke(
        draw_sheet, bundle=bundle, data=data, output=out / "fills.jpg", precision=precision
    )
    context.invoke(studies, pictures=pictures, **shared)
    context.invoke(classes, photos=photos, **shared)
    write_text(report_as_text(out), out / "report.md")
