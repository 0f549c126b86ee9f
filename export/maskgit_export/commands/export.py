"""``maskgit export``: checkpoints of any known family become bundles; ``--check`` examines one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maskgit_export.families.registry import FAMILIES, Family

FOLDER = click.Path(path_type=Path, file_okay=False)


class FamilyGroup(click.Group):
    """One command a family; torch is imported when one is called, not for ``--help``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(FAMILIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return family_command(FAMILIES[cmd_name]) if cmd_name in FAMILIES else None


def family_command(family: Family) -> click.Command:
    """The command that exports checkpoints of ``family``."""
    options: list[click.Parameter] = [
        click.Option(
            [f"--{name}"],
            type=click.Path(path_type=Path, dir_okay=name in family.folders),
            required=True,
            help=text,
        )
        for name, text in family.inputs.items()
    ]
    options += [
        click.Option([f"--{name}"], type=click.IntRange(min=1), help=text)
        for name, text in family.numbers.items()
    ]
    options += [
        click.Option(["-o", "--output"], type=FOLDER, required=True, help="The bundle's folder."),
        click.Option(["--name"], help="The bundle's name; its folder's name if not given."),
        click.Option(
            ["--precision", "precisions"],
            multiple=True,
            type=click.Choice(["fp32", "fp16", "int8"]),
            default=("fp32", "int8"),
            show_default=True,
            help="May be given several times; fp32 is always written.",
        ),
        click.Option(
            ["--half-storage"], is_flag=True, help="Store fp32 weights as fp16: half the size."
        ),
        click.Option(
            ["--with", "extras"],
            multiple=True,
            type=click.Path(path_type=Path, dir_okay=False, exists=True),
            help="A file to put into the bundle, credits say; may be given several times.",
        ),
        click.Option(["--temperature"], type=float, help="Recommended temperature of the draw."),
        click.Option(["--choice-temperature"], type=float, help="Recommended one of the order."),
        click.Option(["--min-p"], type=float, help="Recommended cut of the draw's tail, 0 to 1."),
        click.Option(["--overwrite"], is_flag=True, help="Replace a bundle that is there."),
    ]

    def export_family(
        output: Path,
        name: str | None,
        precisions: tuple[str, ...],
        half_storage: bool,
        overwrite: bool,
        extras: tuple[Path, ...],
        temperature: float | None,
        choice_temperature: float | None,
        min_p: float | None,
        **given: Any,
    ) -> None:
        from maskgit_export.bundle_writer import write_bundle

        paths = {key: given[key] for key in family.inputs}
        numbers = {key: given[key] for key in family.numbers if given[key] is not None}
        source = family.read(name or output.name, paths, numbers)
        advice = {
            "temperature": temperature,
            "choice_temperature": choice_temperature,
            "min_p": min_p,
        }
        source = replace(
            source,
            files={**source.files, **{path.name: path.read_bytes() for path in extras}},
            extra={**source.extra, **{k: v for k, v in advice.items() if v is not None}},
        )
        write_bundle(
            source,
            output,
            precisions=precisions,
            half_storage=half_storage,
            overwrite=overwrite,
        )
        click.echo(output)

    return click.Command(family.name, params=options, callback=export_family, help=family.summary)


@click.group(cls=FamilyGroup, invoke_without_command=True)
@click.option("--check", type=FOLDER, metavar="BUNDLE", help="Examine a bundle and print a table.")
@click.option("--json", "as_json", is_flag=True, help="With --check: print JSON instead.")
@click.pass_context
def export(ctx: click.Context, check: Path | None, as_json: bool) -> None:
    """Turn checkpoints into model bundles."""
    if check is not None:
        from maskgit_export.check import check_bundle, table

        rows = check_bundle(check)
        click.echo(
            json.dumps([row._asdict() for row in rows], indent=1) if as_json else table(rows)
        )
        ctx.exit(0)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
