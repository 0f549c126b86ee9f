"""``maskgit evaluate fills`` and ``sheet``: our fills and the peers' on the same holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.runtime import Model
from maskgit_export.commands.evaluate import pictures_or_sentence, report, write_json
from maskgit_export.commands.evaluate_options import (
    DATA,
    FOLDER,
    HOLES,
    fill_options,
    hole_options,
    model_options,
    report_options,
)
from maskgit_export.data import load_folder
from maskgit_export.evaluate import fills as f
from maskgit_export.evaluate.holes import KINDS
from maskgit_export.evaluate.likelihood import judge_likelihood
from maskgit_export.evaluate.memory import SIDE, busiest, nearest_distances, training_pixels
from maskgit_export.evaluate.peers import PEERS, available
from maskgit_export.evaluate.pictures import native_windows
from maskgit_export.evaluate.realism import UNITS
from maskgit_export.evaluate.sheet import Row, contact_sheet, outlined, save_picture
from maskgit_export.evaluate.tables import fills_as_text


def chosen_peers(names: str) -> tuple[str, ...]:
    """The peers of a comma-separated list, ``all`` for those that can run, ``none``."""
    if names == "none":
        return ()
    able = available()
    if names == "all":
        if len(able) < len(PEERS):
            click.echo("G'MIC is not installed (program gmic): its fills are left out.", err=True)
        return able
    wanted = tuple(names.split(","))
    for name in wanted:
        if name not in PEERS:
            raise MaskgitError(f"There is no peer {name!r}; choose from {', '.join(PEERS)}.")
        if name not in able:
            raise MaskgitError(f"The peer {name} needs the program gmic; install G'MIC.")
    return wanted


@click.command()
@model_options
@DATA
@click.option("--photos", type=FOLDER, help="The pictures the model was trained on.")
@HOLES
@click.option("--kinds", default=",".join(KINDS), show_default=True, help="Kinds of holes.")
@click.option("--peers", default="all", show_default=True, help="Names, all or none.")
@click.option(
    "--variants-of",
    type=click.IntRange(0),
    default=25,
    show_default=True,
    help="Holes of a kind on which diversity is measured.",
)
@hole_options
@fill_options
@report_options
def fills(
    model: Model,
    data: Path,
    photos: Path | None,
    holes: int,
    kinds: str,
    peers: str,
    variants_of: int,
    side: int,
    share: tuple[float, float],
    settings: f.Settings,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge fills: realism against the peers, diversity, time, memory, likelihood.

    With --photos also the distance to the nearest training patch.
    """
    for kind in kinds.split(","):
        if kind not in KINDS:
            raise MaskgitError(
                f"There is no kind of hole {kind!r}; choose from {', '.join(KINDS)}."
            )
    rivals = chosen_peers(peers)
    values: dict[str, Any] = {
        "bundle": model.bundle.name,
        "digest": model.bundle.digest,
        "precision": model.precision,
        "side": side,
        "share": list(share),
        "steps": settings.steps,
        "seed": seed,
        "units": dict(UNITS),
        "kinds": {},
    }
    scores: list[f.Score] = []
    patches: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = []

    def keep_patch(task: f.Task, method: str, made: np.ndarray[Any, Any]) -> None:
        bar.update()
        if photos and method == f.OURS and (place := busiest(made, task.hole)):
            cut = np.s_[place[0] : place[0] + SIDE, place[1] : place[1] + SIDE]
            patches.append((made[cut], task.window.pixels[cut]))

    for kind in kinds.split(","):
        tasks = pictures_or_sentence(f.make_tasks, data, kind, holes, side, share, seed)
        with tqdm(total=holes * (1 + len(rivals)), desc=kind, disable=as_json) as bar:
            found = f.run(model, tasks, rivals, settings, keep_patch)
        scores += found
        table = f.summarise(found)
        values["kinds"][kind] = {
            "holes": len(tasks),
            "pictures": len({t.window.picture for t in tasks}),
            "methods": table,
            "against": {p: {m: f.against(found, p, m) for m in UNITS} for p in rivals},
        }
        if rivals:
            values["kinds"][kind]["best peer"] = f.best_peer(found)
        if variants_of:
            values["kinds"][kind]["diversity"] = f.diversity(model, tasks[:variants_of], settings)
        if out is not None:
            from maskgit_export.evaluate.plots import plot_fills

            title = (
                f"{kind} holes, {len(tasks)} windows of {side} px, 95 % intervals; less is better"
            )
            plot_fills(table, title, out / f"fills-{kind}.png")
    values["scores"] = [s.as_dict() for s in scores]
    if out is not None:
        # What took long is safe before the rest begins.
        write_json(values, out / "fills.json")
    values["likelihood"] = likelihood(model, data, photos, seed)
    if photos and patches:
        values["memory"] = memory(model, patches, photos, seed)
    report(values, "fills", out, as_json, fills_as_text(values))


def likelihood(model: Model, data: Path, photos: Path | None, seed: int) -> dict[str, Any]:
    """Nats a token at half masked, on 64 windows of 16 × 16 tokens."""
    side = 16 * model.bundle.stride
    windows = pictures_or_sentence(native_windows, data, 64, side, seed)
    training = native_windows(photos, 256, side, seed) if photos else []
    found = judge_likelihood(model, [w.pixels for w in windows], [w.pixels for w in training], seed)
    return {"of": "training pictures" if photos else "windows", **found.as_dict()}


def memory(
    model: Model,
    patches: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]],
    photos: Path,
    seed: int,
) -> dict[str, Any]:
    """Distances to the nearest training patch: of fills, of what stood there, of coded copies."""
    from maskgit_export.evaluate.coders import to_image, to_pixels

    folder = load_folder(photos, min_side=SIDE)
    windows = [w.pixels for w in native_windows(photos, 32, 128, seed)]
    coded = to_pixels(model.decode(model.encode(to_image(np.stack(windows)))))
    queries = [made for made, _ in patches] + [real for _, real in patches]
    for copy in coded:
        top, left = busiest(copy, np.ones(copy.shape[:2], bool)) or (0, 0)
        queries.append(copy[top : top + SIDE, left : left + SIDE])
    distances = nearest_distances(queries, training_pixels(folder))
    made, real, copies = np.split(distances, [len(patches), 2 * len(patches)])
    limit = float(np.percentile(copies, 90))
    return {
        "patches": len(patches),
        "fills median": float(np.median(made)),
        "originals median": float(np.median(real)),
        "copies median": float(np.median(copies)),
        "fills as near as a copy": float((made <= limit).mean()),
        "originals as near as a copy": float((real <= limit).mean()),
    }


@click.command()
@model_options
@DATA
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--count", type=click.IntRange(1), default=40, show_default=True)
@click.option("--peer", default="gmic-matchpatch", show_default=True)
@click.option("--kind", type=click.Choice(list(KINDS)), default="free-form", show_default=True)
@hole_options
@fill_options
def sheet(
    model: Model,
    data: Path,
    output: Path,
    count: int,
    peer: str,
    kind: str,
    side: int,
    share: tuple[float, float],
    settings: f.Settings,
) -> None:
    """Draw a contact sheet of fills for seeds 0, 1, 2 … in order, nothing picked."""
    (rival,) = chosen_peers(peer)[:1]
    rows = []
    for seed in tqdm(range(count), desc="fills"):
        (task,) = pictures_or_sentence(f.make_tasks, data, kind, 1, side, share, seed)
        ours, _ = f.our_fill(model, task, settings)
        theirs, _ = PEERS[rival](task.shown, task.hole)
        shown = (outlined(task.window.pixels, task.hole), ours, theirs, task.window.pixels)
        rows.append(Row(f"seed {seed}: {task.window.picture}", shown))
    save_picture(output, contact_sheet(rows, ["hole", "ours", rival, "original"]))
    click.echo(output)
