"""Stage 1, second half: sharpen the decoder against a discriminator, the codes staying as they are.

The encoder and the codebook are frozen, so tokens keep their meaning and a transformer may be
trained on them at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskgit_export.data import crops, load_folder
from maskgit_export.discriminator import (
    Discriminator,
    adaptive_weight,
    hinge_loss,
    random_shift,
)
from maskgit_export.losses import reconstruction_loss, texture_loss
from maskgit_export.run import (
    Run,
    channels_last,
    decibels,
    learning_rate,
    load_checkpoint,
    save_grid,
)
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.train_tokenizer import to_tensor


@dataclass(frozen=True)
class DecoderPlan:
    """How to train; every field is a flag of the command."""

    minutes: float = 25.0
    batch: int = 12
    crop: int = 128
    rate: float = 3e-4
    critic_rate: float = 2e-4
    texture: float = 1.0
    adversarial: float = 0.1
    critic_from: float = 0.5
    grain_strength: float = 0.9
    seed: int = 1
    save_seconds: float = 120.0


def grain_loss(target: Tensor, smooth: Tensor, grained: Tensor, texture: float) -> Tensor:
    """L1 and gradients of the smooth picture + texture·:func:`texture_loss` of the grained one.

    Asking the *smooth* picture to be right pixel by pixel and only the *grained* one to have the
    right contrast makes the noise carry the texture: without that split a decoder meets the
    contrast with mazes that are the same for every place with the same code.
    """
    base = reconstruction_loss(target, smooth, gradient=0.5, texture=0.0)
    return base + texture * texture_loss(target, grained)


def critic_loss(model: Tokenizer, critic: Discriminator, base: Tensor, grained: Tensor) -> Tensor:
    """The critic's opinion of the grained picture, weighted by the gradient norms."""
    (made,) = random_shift(grained)
    with torch.autocast("cpu", torch.bfloat16):
        score, _ = critic(made)
    adversarial = -score.float().mean()
    opinion: Tensor = adaptive_weight(base, adversarial, model.decoder.out.weight) * adversarial
    return opinion


def train_decoder(data: Path, tokenizer: Path, out: Path, plan: DecoderPlan) -> Path:
    """Train until ``plan.minutes`` are used; resumes ``out``/tokenizer.pt if it is there.

    The result is a tokenizer checkpoint with the same encoder and codes and a sharper decoder.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "tokenizer.pt"
    torch.manual_seed(plan.seed)
    resumed = path.exists()
    state = load_checkpoint(path if resumed else tokenizer)
    config = replace(
        TokenizerConfig(**state["config"]), grain=True, grain_strength=plan.grain_strength
    )
    model = channels_last(Tokenizer(config))
    # The first half's decoder had no grain; what it lacks starts silent.
    model.load_state_dict(state["model"], strict=resumed)
    model.encoder.requires_grad_(False)
    critic = channels_last(Discriminator())
    maker = torch.optim.Adam(model.decoder.parameters(), lr=plan.rate, betas=(0.5, 0.9))
    judge = torch.optim.Adam(critic.parameters(), lr=plan.critic_rate, betas=(0.5, 0.9))
    spent, step = 0.0, 0
    if resumed:
        critic.load_state_dict(state["critic"])
        maker.load_state_dict(state["maker"])
        judge.load_state_dict(state["judge"])
        spent, step = state["decoder_seconds"], state["decoder_step"]
    averaged = {name: value.clone() for name, value in model.decoder.state_dict().items()}
    folder = load_folder(data, min_side=plan.crop)
    rng = np.random.default_rng((plan.seed, step))
    batches = crops(folder, plan.batch, plan.crop, plan.crop, rng)
    run = Run(path, plan.minutes, plan.save_seconds, spent)

    def state_now() -> dict[str, Any]:
        weights = model.state_dict() | {f"decoder.{k}": v for k, v in averaged.items()}
        return {
            "kind": "tokenizer",
            "config": config.as_dict(),
            "model": weights,
            "critic": critic.state_dict(),
            "maker": maker.state_dict(),
            "judge": judge.state_dict(),
            "decoder_seconds": run.clock.seconds,
            "decoder_step": step,
        }

    while run.clock.progress < 1.0:
        image = to_tensor(next(batches)[0])
        for group in maker.param_groups:
            group["lr"] = learning_rate(plan.rate, run.clock.progress, step)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                codes = model.codebook.lookup(model.encode(image))
            smooth = model.decoder(codes, smooth=True).float()
            output = model.decoder(codes).float()
        loss = grain_loss(image, smooth, output, plan.texture)
        # Switched on late: what an ignorant critic says would only do harm.
        if plan.adversarial and run.clock.progress > plan.critic_from:
            critic.requires_grad_(False)
            loss = loss + plan.adversarial * critic_loss(model, critic, loss, output)
            critic.requires_grad_(True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.decoder.parameters(), 1.0)
        maker.step()
        maker.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in model.decoder.state_dict().items():
                averaged[name].lerp_(value, 0.01)
        verdict = output.new_zeros(())
        if plan.adversarial and run.clock.progress > 0.8 * plan.critic_from:
            real, fake = random_shift(image, output.detach())
            with torch.autocast("cpu", torch.bfloat16):
                scores, _ = critic(torch.cat([real, fake]))
            verdict = hinge_loss(*scores.float().chunk(2))
            verdict.backward()
            judge.step()
            judge.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            run.show(
                step=step,
                loss=f"{float(loss.detach()):.3f}",
                critic=f"{float(verdict.detach()):.2f}",
                psnr=f"{decibels(image, output):.2f}",
            )
        if run.due:
            save_grid(
                out / "reconstructions.png", [image[:8], smooth[:8].detach(), output[:8].detach()]
            )
            run.save(state_now())
    return run.end(state_now())
