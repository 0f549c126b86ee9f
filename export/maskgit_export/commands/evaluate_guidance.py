"""``maskgit evaluate strokes`` and ``maskgit evaluate guidance``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.guidance import check_guidance
from maskgit_export.commands.evaluate import write_json, write_text
from maskgit_export.commands.evaluate_options import (
    DATA,
    FOLDER,
    NEW_FOLDER,
    PRECISION,
    SEED,
    STEPS,
    THREADS,
)

if TYPE_CHECKING:
    from maskgit_export.evaluate.guidance import Edit, Outcome, Setting

OUT = click.option("--out", type=NEW_FOLDER, required=True, help="Folder for what is made.")
COUNT = click.option("--edits", type=click.IntRange(1), default=60, show_default=True)
SIDE = click.option(
    "--side", type=click.IntRange(64, 1024), default=128, show_default=True, help="Window, pixels."
)

SHEET_ROWS = 12
SHEET_STRENGTH, SHEET_CONFIDENCE = 0.5, 0.85
"""Which setting of each method the sheet of methods shows."""
FLAT = ("inversion", "counterfactual")


@click.command()
@DATA
@OUT
@COUNT
@SIDE
@SEED
def strokes(data: Path, out: Path, edits: int, side: int, seed: int) -> None:
    """Paint strokes on windows of the pictures in --data: inversion, counterfactual, brush.

    Writes NNN-original.png, NNN-painted.png, NNN-selection.png and strokes.json.
    """
    import numpy as np
    from PIL import Image

    from maskgit_export.evaluate.guidance import make_edits

    made = make_edits(data, edits, side, seed)
    out.mkdir(parents=True, exist_ok=True)
    facts = []
    for i, edit in enumerate(made):
        selection = edit.strokes.selection.astype(np.uint8) * 255
        parts = {"original": edit.original, "painted": edit.strokes.painted, "selection": selection}
        for part, pixels in parts.items():
            Image.fromarray(pixels).save(out / f"{i:03d}-{part}.png")
        facts.append({"picture": edit.name, "kind": edit.strokes.kind})
    write_json({"seed": seed, "side": side, "edits": facts}, out / "strokes.json")
    click.echo(out)


@click.command()
@click.option("--bundle", type=FOLDER, default=STARTER, show_default="the starter")
@PRECISION
@DATA
@OUT
@COUNT
@SIDE
@SEED
@STEPS
@THREADS
@click.option("--learned", type=FOLDER, help="Bundle by maskgit train guidance: self-learned.")
@click.option("--iterative", type=FOLDER, help="Bundle tuned by maskgit train iterative.")
@click.option("--brief", is_flag=True, help="The default's strengths alone.")
def guidance(
    bundle: Path,
    precision: str,
    data: Path,
    out: Path,
    edits: int,
    side: int,
    seed: int,
    steps: int,
    threads: int | None,
    learned: Path | None,
    iterative: Path | None,
    brief: bool,
) -> None:
    """Compare guidance methods on stroke edits: fidelity, realism, seam, time.

    Writes guidance.json, guidance.md, tradeoff.png, contact.png and methods.png to --out. What was
    made is kept in --out/edits: the same command again goes on where it stopped.
    """
    from tqdm import tqdm

    from maskgit_daemon.runtime import load_model, pick_device
    from maskgit_export.evaluate.guidance import all_settings, make_edits, run_settings, sweep
    from maskgit_export.evaluate.guidance_store import Store

    folders = {"default": bundle, "self-learned": learned, "iterative": iterative}
    models = {
        method: load_model(load_bundle(folder), pick_device("auto"), precision, threads)
        for method, folder in folders.items()
        if folder is not None
    }
    for method in models:
        check_guidance(method, models[method].bundle, SHEET_STRENGTH, {})
    model = models["default"]
    made = make_edits(data, edits, side, seed, model.bundle.condition.labels)
    settings = all_settings(models)
    if brief:
        settings = [settings[0], *sweep("default")]
    facts = {"bundle": model.bundle.name, "digest": model.bundle.digest, "steps": steps}
    facts.update(precision=model.precision, side=side, seed=seed, edits=edits)
    facts["others"] = {name: one.bundle.digest for name, one in models.items() if one != model}
    store, outcomes = Store(out / "edits", facts, settings), []
    for number in tqdm(range(len(made)), unit="edit"):
        done = store.get(number)
        if done is None:
            done = run_settings(models, made, number, settings, seed, steps)
            store.put(number, done)
        outcomes += done
    report = write_report(outcomes, made, out, facts)
    click.echo(json.dumps(report["default"], indent=1))
    click.echo(out)


def write_report(
    outcomes: Sequence[Outcome], edits: Sequence[Edit], out: Path, facts: dict[str, Any]
) -> dict[str, Any]:
    """Judge the outcomes, write all files of the report to ``out`` and return the numbers."""
    import numpy as np

    from maskgit_export.evaluate import guidance_plots, guidance_report
    from maskgit_export.evaluate.guidance import STRENGTHS, Setting, is_ours
    from maskgit_export.evaluate.guidance_text import knob_text, settings_text

    table = guidance_report.table_of(outcomes)
    pictures = [edit.name for edit in edits]
    rows = guidance_report.summary(table, pictures)
    flat = np.array([edit.strokes.kind in FLAT for edit in edits])
    if not flat.any():
        raise MaskgitError("Every edit is a brush; ask for at least two edits.")
    judged = guidance_report.knob(table, "default", STRENGTHS, flat)
    report = {
        **facts,
        "default": judged._asdict(),
        "verdicts": guidance_report.verdicts(
            table,
            [s for s in table if is_ours(s.method)],
            [s for s in table if not is_ours(s.method)],
            pictures,
        ),
        "settings": rows,
    }
    write_json(report, out / "guidance.json")
    tables = knob_text(judged, STRENGTHS, report["verdicts"]), settings_text(rows)
    write_text("\n".join(tables) + "\n", out / "guidance.md")
    guidance_plots.plot_tradeoff(rows, out / "tradeoff.png")
    pictures_of = {(o.edit, o.setting): o.picture for o in outcomes}

    def sheet(columns: Mapping[str, Setting], path: Path) -> None:
        lines = [
            [edit.original, edit.strokes.painted, *(pictures_of[i, s] for s in columns.values())]
            for i, edit in enumerate(edits[:SHEET_ROWS])
        ]
        guidance_plots.contact_sheet(lines, ["original", "painted", *columns], path)

    sheet({f"strength {s:g}": Setting("default", s) for s in STRENGTHS}, out / "contact.png")
    sheet({one.method: one for one in table if _on_the_sheet(one)}, out / "methods.png")
    return report


def _on_the_sheet(setting: Setting) -> bool:
    """Whether it is the one setting of its method that the sheet of methods shows."""
    options = dict(setting.options)
    strength = 1.0 if setting.method == "none" else SHEET_STRENGTH
    confidence = options.get("confidence", SHEET_CONFIDENCE)
    return (setting.strength, confidence) == (strength, SHEET_CONFIDENCE)
