"""``maskgit train guidance`` and ``maskgit train iterative``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_export.commands.plan_options import FILE, FOLDER, TARGET, plan_options
from maskgit_export.train_guidance import IterativePlan, KernelPlan


@click.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--bundle", type=FOLDER, default=STARTER, show_default="the starter")
@click.option("-o", "--output", type=TARGET, required=True, help="The new bundle's folder.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@plan_options(KernelPlan)
def guidance(data: Path, bundle: Path, output: Path, overwrite: bool, **fields: Any) -> None:
    """The kernel of the guidance self-learned; writes a copy of the bundle that holds it."""
    from maskgit_daemon.runtime import load_model, pick_device
    from maskgit_export.train_guidance import add_kernel, train_kernel

    model = load_model(load_bundle(bundle), pick_device("auto"))
    kernel = train_kernel(model, data, KernelPlan(**fields))
    click.echo(add_kernel(bundle, kernel, output, overwrite=overwrite))


@click.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--tokenizer", type=FILE, required=True, help="tokenizer.pt of stage 1.")
@click.option("--transformer", type=FILE, required=True, help="transformer.pt of stage 2.")
@click.option("--out", type=TARGET, required=True, help="Folder for the tuned transformer.pt.")
@plan_options(IterativePlan)
def iterative(data: Path, tokenizer: Path, transformer: Path, out: Path, **fields: Any) -> None:
    """Tune a transformer to take its own rejected samples, for the guidance iterative."""
    from maskgit_export.train_guidance import train_iterative

    click.echo(train_iterative(data, tokenizer, transformer, out, IterativePlan(**fields)))
