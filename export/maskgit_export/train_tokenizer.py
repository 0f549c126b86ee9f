"""Stage 1: train the VQ tokenizer on a folder of pictures (``maskgit train tokenizer``)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskgit_export.data import Pixels, crops, load_folder
from maskgit_export.losses import reconstruction_loss
from maskgit_export.run import (
    Run,
    channels_last,
    decibels,
    learning_rate,
    load_checkpoint,
    save_grid,
)
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizerPlan:
    """How to train; every field is a flag of the command."""

    minutes: float = 30.0
    batch: int = 16
    crop: int = 128
    rate: float = 1e-3
    gradient: float = 0.5
    texture: float = 0.25
    commitment: float = 0.25
    warm_steps: int = 150
    seed: int = 0
    save_seconds: float = 120.0


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (B,H,W,3) → float32 (B,3,H,W) in [0,1], channels last in memory."""
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    return image.float().div_(255.0).contiguous(memory_format=torch.channels_last)


def forward(
    model: Tokenizer, image: Tensor, *, quantise: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One pass: output, latents, ids, commitment error; gradients pass straight through."""
    latents = model.encoder(image).float()
    ids = model.codebook.nearest(latents.detach())
    if not quantise:
        return model.decoder(latents).float(), latents, ids, latents.new_zeros(())
    codes = model.codebook.lookup(ids)
    commitment = (latents - codes).square().mean()
    straight = latents + (codes - latents).detach()
    return model.decoder(straight).float(), latents, ids, commitment


def start_codebook(model: Tokenizer, latents: Tensor) -> None:
    """Place the codes on random latents of the warmed-up encoder."""
    flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    picks = flat[torch.randint(len(flat), (len(model.codebook.codes),))]
    model.codebook.codes.copy_(picks)
    model.codebook.sums.copy_(picks)
    model.codebook.counts.fill_(1.0)


def train_tokenizer(data: Path, out: Path, config: TokenizerConfig, plan: TokenizerPlan) -> Path:
    """Train until ``plan.minutes`` are used, resuming ``out``/tokenizer.pt if it is there.

    Writes ``tokenizer.pt`` every ``save_seconds`` and ``reconstructions.png`` beside it; returns
    the checkpoint's path.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "tokenizer.pt"
    torch.manual_seed(plan.seed)
    model = channels_last(Tokenizer(config))
    optimiser = torch.optim.AdamW(
        [*model.encoder.parameters(), *model.decoder.parameters()],
        lr=plan.rate,
        betas=(0.9, 0.98),
        weight_decay=1e-4,
    )
    spent, step = 0.0, 0
    if path.exists():
        state = load_checkpoint(path)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        spent, step = state["seconds"], state["step"]
    folder = load_folder(data, min_side=plan.crop)
    rng = np.random.default_rng((plan.seed, step))
    batches = crops(folder, plan.batch, plan.crop, plan.crop, rng)
    run = Run(path, plan.minutes, plan.save_seconds, spent)

    def state_now() -> dict[str, Any]:
        return {
            "kind": "tokenizer",
            "config": config.as_dict(),
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "seconds": run.clock.seconds,
            "step": step,
        }

    while run.clock.progress < 1.0:
        image = to_tensor(next(batches)[0])
        quantise = step >= plan.warm_steps
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(plan.rate, run.clock.progress, step)
        with torch.autocast("cpu", torch.bfloat16):
            output, latents, ids, commitment = forward(model, image, quantise=quantise)
        loss = reconstruction_loss(image, output, gradient=plan.gradient, texture=plan.texture)
        (loss + plan.commitment * commitment).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if quantise:
            late = run.clock.progress > 0.85
            model.codebook.update(
                latents.detach(), ids, decay=0.99, restart_below=0.0 if late else 0.1
            )
        elif step == plan.warm_steps:
            start_codebook(model, latents.detach())
        if step % 20 == 0:
            with torch.no_grad():
                hits = model.codebook.counts / model.codebook.counts.sum()
                used = float((-(hits * hits.clamp_min(1e-9).log()).sum()).exp())
            run.show(
                step=step,
                loss=f"{float(loss.detach()):.4f}",
                psnr=f"{decibels(image, output):.2f}",
                perplexity=f"{used:.0f}",
            )
        if run.due:
            save_grid(out / "reconstructions.png", [image[:8], output[:8].detach()])
            run.save(state_now())
    return run.end(state_now())
