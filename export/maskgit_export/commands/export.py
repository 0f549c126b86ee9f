"""``maskgit export``: checkpoints of any known family become bundles."""

from __future__ import annotations

from pathlib import Path

import click

from maskgit_export.bundle_writer import DEFAULT_PRECISIONS, write_bundle
from maskgit_export.families.starter import read_starter

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def export() -> None:
    """Turn checkpoints into model bundles."""


@export.command()
@click.option("--tokenizer", type=FILE, required=True, help="tokenizer.pt of maskgit train.")
@click.option("--transformer", type=FILE, required=True, help="transformer.pt of maskgit train.")
@click.option("-o", "--output", type=FOLDER, required=True, help="The bundle's folder.")
@click.option("--name", default="starter", show_default=True, help="The bundle's name.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@click.option(
    "--precision", "precisions", multiple=True, default=DEFAULT_PRECISIONS, show_default=True
)
@click.option("--half-storage", is_flag=True, help="Store fp32 weights as fp16: half the size.")
def starter(
    tokenizer: Path,
    transformer: Path,
    output: Path,
    name: str,
    overwrite: bool,
    precisions: tuple[str, ...],
    half_storage: bool,
) -> None:
    """The project's own models, as maskgit train writes them."""
    source = read_starter(tokenizer, transformer, name)
    write_bundle(
        source, output, precisions=precisions, half_storage=half_storage, overwrite=overwrite
    )
    click.echo(output)
