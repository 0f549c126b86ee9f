"""``maskgit evaluate``: judge tokenizers, fills and bundles with numbers, plots and pictures."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import click

from maskgit_daemon.errors import MaskgitError
from maskgit_export.commands.evaluate_options import (
    DATA,
    FILE,
    FOLDER,
    JSON,
    OUT,
    PHOTOS,
    PRECISION,
    report_options,
)

ELSEWHERE = {
    "fills": ("maskgit_export.commands.evaluate_fills:fills", "Judge fills against the peers."),
    "sheet": ("maskgit_export.commands.evaluate_fills:sheet", "Draw a contact sheet of fills."),
    "studies": ("maskgit_export.commands.evaluate_studies:studies", "The paper's own studies."),
    "classes": ("maskgit_export.commands.evaluate_studies:classes", "Judge edits by class."),
    "all": ("maskgit_export.commands.evaluate_studies:everything", "All of it, one after another."),
    "strokes": ("maskgit_export.commands.evaluate_guidance:strokes", "Judge stroke guidance."),
    "guidance": ("maskgit_export.commands.evaluate_guidance:guidance", "Compare guidance methods."),
}
"""Subcommands that other modules hold, imported only when called."""


class EvaluateGroup(click.Group):
    """The group's own subcommands and, lazily, those of :data:`ELSEWHERE`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = ELSEWHERE[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = {name: command.get_short_help_str(80) for name, command in self.commands.items()}
        texts = {**own, **{name: text for name, (_, text) in ELSEWHERE.items()}}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(texts.items()))


@click.group(cls=EvaluateGroup)
def evaluate() -> None:
    """Judge models with numbers and plots."""


def report(
    values: dict[str, Any], name: str, out: Path | None, as_json: bool, text: str | None = None
) -> None:
    """Print ``values`` as JSON, or ``text``, or one line a value; write ``out``/``name``.json."""
    if out is not None:
        write_json(values, out / f"{name}.json")
    if as_json:
        click.echo(json.dumps(values, indent=1))
        return
    width = max(map(len, values))
    lines = (f"{key:<{width}}  {_shown(value)}" for key, value in values.items())
    click.echo(text or "\n".join(lines))


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write ``values``, whole or not at all."""
    write_text(json.dumps(values, indent=1) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write ``text`` in UTF-8, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "\n  ".join(["", *(f"{key}: {_shown(item)}" for key, item in value.items())])
    if isinstance(value, (list, tuple)):
        return "  ".join(map(_shown, value)) or "none"
    return str(value)


@evaluate.command()
@click.option("--tokenizer", type=FILE, help="A checkpoint that training has written.")
@click.option("--bundle", type=FOLDER, help="A model bundle.")
@PRECISION
@click.option("--crops", type=click.IntRange(2), default=256, show_default=True)
@click.option("--side", type=click.IntRange(64), default=128, show_default=True)
@DATA
@report_options
def tokenizer(
    tokenizer: Path | None,
    bundle: Path | None,
    precision: str,
    crops: int,
    side: int,
    data: Path,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge a tokenizer: PSNR, SSIM, sharpness by octave, grid artefacts, use of the codes.

    On random crops at native size of the pictures in --data.
    """
    from maskgit_export.evaluate.coders import BundleCoder, Coder, TorchCoder
    from maskgit_export.evaluate.pictures import native_windows
    from maskgit_export.evaluate.reconstruction import judge_tokenizer

    if (tokenizer is None) == (bundle is None):
        raise click.UsageError("Give either --tokenizer or --bundle.")
    if side % 64:
        raise click.UsageError("--side must be a multiple of 64.")
    coder: Coder
    if tokenizer is not None:
        coder = TorchCoder(tokenizer)
    else:
        assert bundle is not None
        coder = BundleCoder(bundle, precision)
    windows = pictures_or_sentence(native_windows, data, crops, side, seed)
    values = judge_tokenizer(coder, [w.pixels for w in windows]).as_dict()
    report({"of": str((tokenizer or bundle).name), **values}, "tokenizer", out, as_json)  # type: ignore[union-attr]


def pictures_or_sentence(read: Any, *arguments: Any, **options: Any) -> Any:
    """``read(*arguments)``, with a folder that holds nothing usable told as one sentence."""
    from maskgit_export.data import NoPicturesError

    try:
        return read(*arguments, **options)
    except NoPicturesError as error:
        raise MaskgitError(str(error)) from None


@evaluate.command("data")
@PHOTOS
@DATA
@OUT
@JSON
def data_command(photos: Path, data: Path, out: Path | None, as_json: bool) -> None:
    """Look for near-duplicates between the pictures trained on and those judged on."""
    from maskgit_export.evaluate.duplicates import find_duplicates

    pairs = pictures_or_sentence(find_duplicates, photos, data)
    closest = max(pairs, key=lambda pair: pair.correlation)
    values = {
        "pictures": len(pairs),
        "near-duplicates": [f"{p.picture} = {p.nearest}" for p in pairs if p.duplicate],
        "closest": f"{closest.picture} and {closest.nearest}",
        "closest correlation": closest.correlation,
        "fewest differing bits": min(pair.bits for pair in pairs),
        "nearest": {p.picture: [p.nearest, round(p.correlation, 3), p.bits] for p in pairs},
    }
    report(values, "data", out, as_json)


@evaluate.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@OUT
@JSON
def compare(first: Path, second: Path, out: Path | None, as_json: bool) -> None:
    """Compare two fills.json of the same holes: SECOND's measures relative to FIRST's.

    Each as a share of FIRST's mean, with the 95 % interval of the paired difference.
    """
    from maskgit_export.evaluate.fills import compare_scores

    runs = [json.loads(path.read_text(encoding="utf-8")) for path in (first, second)]
    try:
        found = compare_scores(runs[0]["scores"], runs[1]["scores"])
    except (KeyError, TypeError, ValueError) as error:
        raise MaskgitError(
            f"{first} and {second} are not two fills.json of the same holes ({error}); run "
            "maskgit evaluate fills twice with the same --data, --holes, --side and --seed."
        ) from None
    report(found, "compare", out, as_json)
