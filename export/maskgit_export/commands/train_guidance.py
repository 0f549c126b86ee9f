"""``maskgit train guidance`` and ``maskgit train iterative``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_export.commands.plan_options import FILE, FOLDER, TARGET, plan_options
from maskgit_export.train_guidance import IterativePlan, KernelPlan

THREADS = click.option(
    "--threads", type=click.IntRange(1), help="Processors to use; all if not given."
)


@click.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--bundle", type=FOLDER, default=STARTER, show_default="the starter")
@click.option("-o", "--output", type=TARGET, required=True, help="The new bundle's folder.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@THREADS
@plan_options(KernelPlan)
def guidance(
    data: Path, bundle: Path, output: Path, overwrite: bool, threads: int | None, **fields: Any
) -> None:
    """The kernel of the guidance self-learned; writes a copy of the bundle that holds it."""
    from maskgit_daemon.runtime import load_model, pick_device
    from maskgit_export.train_guidance import add_kernel, train_kernel

    _use(threads)
    model = load_model(load_bundle(bundle), pick_device("auto"), threads=threads)
    kernel = train_kernel(model, data, KernelPlan(**fields))
    click.echo(add_kernel(bundle, kernel, output, overwrite=overwrite))


@click.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--init", type=FOLDER, help="Bundle of ours to start from.")
@click.option("--tokenizer", type=FILE, help="tokenizer.pt of stage 1; not needed with a bundle.")
@click.option("--transformer", type=FILE, help="transformer.pt of stage 2; likewise.")
@click.option("--out", type=TARGET, required=True, help="Folder for the tuned transformer.pt.")
@THREADS
@plan_options(IterativePlan)
def iterative(
    data: Path,
    init: Path | None,
    tokenizer: Path | None,
    transformer: Path | None,
    out: Path,
    threads: int | None,
    **fields: Any,
) -> None:
    """Tune a transformer to take its own rejected samples, for the guidance iterative."""
    from maskgit_export.train_guidance import train_iterative

    _use(threads)
    if init is not None:
        from maskgit_export.from_bundle import unpack_bundle

        tokenizer, transformer = unpack_bundle(init, out)
    if tokenizer is None or transformer is None:
        raise click.UsageError("Give --init with a bundle, or --tokenizer and --transformer.")
    click.echo(train_iterative(data, tokenizer, transformer, out, IterativePlan(**fields)))


def _use(threads: int | None) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)
