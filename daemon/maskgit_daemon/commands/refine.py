"""``maskgit refine IMAGE --selection MASK -o OUT``: the daemon's work from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from maskgit_daemon.bundle import MANIFEST
from maskgit_daemon.commands.extend import extend_job, wait
from maskgit_daemon.connection_file import write_launcher
from maskgit_daemon.extend import grown_size, parse_sides
from maskgit_daemon.frame import selection_bounds
from maskgit_daemon.images import (
    Picture,
    check_target,
    compose,
    read_picture,
    read_selection,
    write_picture,
)
from maskgit_daemon.rank import best
from maskgit_refine.client import Client, Patch, Plan, Result
from maskgit_refine.connection import home_folder
from maskgit_refine.launch import connect_or_start

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("image", type=FILE)
@click.option("--selection", type=FILE, help="8-bit mask, white = make again; default: everything.")
@click.option(
    "--extend", metavar="SIDES", help="Let the picture grow: left=200,right=200 (also top, bottom)."
)
@click.option("-o", "--out", type=FILE, required=True, help="Result (PNG, TIFF or WebP).")
@click.option("--bundle", "--model", default="starter", show_default=True, help="Name or folder.")
@click.option(
    "--strength", default=1.0, show_default=True, help="0 keeps all, 1 ignores what is there."
)
@click.option("--guidance", default="default", show_default=True, help="How the strokes guide.")
@click.option("--option", "options", multiple=True, metavar="NAME=NUMBER", help="For the guidance.")
@click.option("--label", "--class", default=None, help="Class, by name or number.")
@click.option("--prompt", default=None, help="What to paint, for models that take text.")
@click.option("--negative-prompt", default=None, help="What not to paint.")
@click.option("--guidance-scale", type=float, default=None, help="Weight of class or prompt.")
@click.option("--steps", default=8, show_default=True, help="Decoding steps.")
@click.option("--more", default=0, show_default=True, help="Passes that redraw doubtful tokens.")
@click.option("--schedule", default="cosine", show_default=True, help="Mask schedule.")
@click.option("--order", help="confidence, halton, random or outward, as --extend has it.")
@click.option("--temperature", type=float, help="Of the draw; default: the model's own.")
@click.option("--choice-temperature", type=float, help="Of the order; default: the model's own.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same result.")
@click.option("--variants", default=1, show_default=True, help="How many; saved as OUT-1, OUT-2 …")
@click.option("--best", "keep_best", is_flag=True, help="Of the variants, save the best as OUT.")
@click.option("--feather", default=0.0, show_default=True, help="Pixels of fade inside the edge.")
@click.option("--json", "as_json", is_flag=True, help="Print the result's facts as JSON.")
def refine(
    image: Path,
    selection: Path | None,
    extend: str | None,
    out: Path,
    options: tuple[str, ...],
    keep_best: bool,
    as_json: bool,
    **fields: Any,
) -> None:
    """Make the selected part of IMAGE again; every byte outside the selection stays."""
    if extend is not None and (selection or fields["strength"] != 1 or fields["feather"]):
        raise click.UsageError(
            "--extend makes all that is new, whole: leave out --selection, --strength, --feather."
        )
    check_target(out)
    picture = read_picture(image)
    sides = parse_sides(extend) if extend is not None else None
    check_target(out, grown_size(picture.size, sides) if sides else picture.size)
    mask = read_selection(selection, picture.size) if selection else _everything(picture)
    fields["options"] = dict(_parse_option(option) for option in options)
    if (Path(fields["bundle"]) / MANIFEST).is_file():
        # A folder is told in full: the daemon works elsewhere.
        fields["bundle"] = str(Path(fields["bundle"]).absolute())
    given = {name: value for name, value in fields.items() if value is not None}
    write_launcher(home_folder())
    facts: dict[str, Any] = {}
    made: list[tuple[Picture, dict[str, Any]]]
    with connect_or_start() as client:
        if sides:
            made = extend_job(client, picture, sides, given)
        else:
            result, plan = run_job(client, picture, mask, given, quiet=as_json)
            made = [(_laid(picture, patch, plan), patch.info) for patch in result.patches]
            facts = {**result.info, "footprint": plan.footprint, "may_change": plan.may_change}
    if keep_best:
        made = [made[best([info.get("score", 0.0) for _, info in made])]]
    targets = [out]
    if len(made) > 1:
        targets = [out.with_stem(f"{out.stem}-{k + 1}") for k in range(len(made))]
    for (laid, _), target in zip(made, targets, strict=True):
        write_picture(target, laid)
        if not as_json:
            click.echo(target)
    if as_json:
        facts = {"files": [str(t) for t in targets], **facts}
        click.echo(json.dumps(facts | {"patches": [info for _, info in made]}))


def _everything(picture: Picture) -> np.ndarray[Any, np.dtype[np.uint8]]:
    width, height = picture.size
    return np.full((height, width), 255, np.uint8)


def _laid(picture: Picture, patch: Patch, plan: Plan) -> Picture:
    """The picture with a patch laid over it; itself where nothing was made."""
    if not patch.info["footprint"]:
        return picture
    pixels = np.frombuffer(patch.pixels, np.uint8).reshape(patch.height, patch.width, 4)
    return compose(picture, pixels, plan.window[0] + patch.left, plan.window[1] + patch.top)


def run_job(
    client: Client,
    picture: Picture,
    mask: np.ndarray[Any, np.dtype[np.uint8]],
    fields: dict[str, Any],
    *,
    quiet: bool = True,
) -> tuple[Result, Plan]:
    """Plan, send the window, wait; unless ``quiet``, say before the first pass what may change."""
    bounds = selection_bounds(mask)
    given = ("strength", "guidance", "options")
    told = {name: fields[name] for name in given if name in fields}
    plan = client.plan(fields["bundle"], bounds, picture.size, **told)
    left, top, width, height = plan.window
    window = picture.window(left, top, width, height)
    cut = np.ascontiguousarray(mask[top : top + height, left : left + width])
    job = client.refine(window.tobytes(), cut.tobytes(), width, height, **fields)
    with tqdm(total=fields["steps"], unit="step", leave=False, disable=None) as bar:
        return wait(job, bar, "" if quiet else plan.text()), plan


def _parse_option(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not NAME=NUMBER.", param_hint="--option") from None
