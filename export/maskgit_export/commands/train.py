"""``maskgit train tokenizer|decoder|transformer|guidance|iterative``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from maskgit_export.commands.plan_options import FILE, FOLDER, TARGET, plan_options
from maskgit_export.commands.train_guidance import guidance, iterative

PLACE = click.Path(exists=True, path_type=Path)


def _prepare(threads: int) -> None:
    import torch

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if threads:
        torch.set_num_threads(threads)


def _plans() -> tuple[type, type, type]:
    from maskgit_export.train_decoder import DecoderPlan
    from maskgit_export.train_tokenizer import TokenizerPlan
    from maskgit_export.train_transformer import TransformerPlan

    return TokenizerPlan, DecoderPlan, TransformerPlan


TOKENIZER, DECODER, TRANSFORMER = _plans()


@click.group()
def train() -> None:
    """Train or tune models on a folder of pictures; stop and start again at any time."""


@train.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--out", type=TARGET, required=True, help="Folder of the run; resumed if it exists.")
@click.option("--threads", default=0, help="Processors to use (0: all).")
@plan_options(TOKENIZER)
def tokenizer(data: Path, out: Path, threads: int, **fields: Any) -> None:
    """Stage 1: encoder, codes and decoder."""
    from maskgit_export.tokenizer import TokenizerConfig
    from maskgit_export.train_tokenizer import train_tokenizer

    _prepare(threads)
    click.echo(train_tokenizer(data, out, TokenizerConfig(), TOKENIZER(**fields)))


@train.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--tokenizer", type=FILE, required=True, help="tokenizer.pt of stage 1.")
@click.option("--out", type=TARGET, required=True, help="Folder of the run; resumed if it exists.")
@click.option("--threads", default=0, help="Processors to use (0: all).")
@plan_options(DECODER)
def decoder(data: Path, tokenizer: Path, out: Path, threads: int, **fields: Any) -> None:
    """Stage 1, second half: a sharper decoder for the same tokens."""
    from maskgit_export.train_decoder import train_decoder

    _prepare(threads)
    click.echo(train_decoder(data, tokenizer, out, DECODER(**fields)))


@train.command()
@click.option("--data", type=FOLDER, required=True, help="Folder of pictures.")
@click.option("--tokenizer", type=FILE, help="tokenizer.pt of stage 1; not needed with a bundle.")
@click.option("--out", type=TARGET, required=True, help="Folder of the run; resumed if it exists.")
@click.option("--init", type=PLACE, help="Bundle (or transformer.pt) to start from: tuning.")
@click.option("--validation", type=FOLDER, help="Pictures for the held-out loss.")
@click.option("--threads", default=0, help="Processors to use (0: all).")
@plan_options(TRANSFORMER)
def transformer(
    data: Path,
    tokenizer: Path | None,
    out: Path,
    init: Path | None,
    validation: Path | None,
    threads: int,
    **fields: Any,
) -> None:
    """Stage 2: the masked transformer over stage 1's tokens.

    With --init BUNDLE and a few of your own pictures it tunes a model in minutes.
    """
    from maskgit_export.train_transformer import train_transformer

    _prepare(threads)
    if init is not None and init.is_dir():
        from maskgit_export.from_bundle import unpack_bundle

        tokenizer, init = unpack_bundle(init, out)
    if tokenizer is None:
        raise click.UsageError("Give --tokenizer, or --init with a bundle.")
    plan = TRANSFORMER(**fields)
    click.echo(train_transformer(data, tokenizer, out, plan, init=init, validation=validation))


train.add_command(guidance)
train.add_command(iterative)
