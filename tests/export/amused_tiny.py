"""A small aMUSEd with random weights, made and saved by ``diffusers`` and ``transformers``."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import torch

CODES, WORDS, SIDE, LENGTH = 96, 128, 8, 16


def shake(model: torch.nn.Module, scale: float) -> None:
    """Random weights everywhere, those that begin as zeros or ones too."""
    for name, weight in model.named_parameters():
        if weight.ndim == 1 or "gamma" in name or "beta" in name:
            weight.data += 0.2 * torch.randn_like(weight)
        elif "embed" in name:
            weight.data.normal_()
        else:
            weight.data.normal_(std=scale / weight[0].numel() ** 0.5)


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """A few byte-pair merges over lower-case letters, and CLIP's marks at the end."""
    letters = [*string.ascii_lowercase, *string.digits, ",", ".", "!"]
    merges = ["a t</w>", "c at</w>", "r e", "re d</w>", "s k", "sk y</w>"]
    words = [*letters, *(f"{c}</w>" for c in letters), *(m.replace(" ", "") for m in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}, merges


def save_amused(folder: Path, *, downsample: bool) -> dict[str, Any]:
    """Write the folder and return its models by name."""
    from diffusers import AmusedScheduler, UVit2DModel, VQModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    torch.manual_seed(0)
    ids, merges = vocabulary()
    transformer = UVit2DModel(
        hidden_size=48,
        cond_embed_dim=24,
        micro_cond_encode_dim=8,
        micro_cond_embed_dim=40,
        encoder_hidden_size=40,
        vocab_size=WORDS,
        codebook_size=CODES,
        in_channels=32,
        block_out_channels=32,
        num_res_blocks=2,
        downsample=downsample,
        upsample=downsample,
        block_num_heads=4,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=80,
        sample_size=SIDE,
    )
    vqvae = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 32, 64),
        layers_per_block=2,
        latent_channels=12,
        num_vq_embeddings=CODES,
        vq_embed_dim=12,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
        force_upcast=True,
    )
    text = CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=len(ids),
            hidden_size=40,
            intermediate_size=64,
            projection_dim=24,
            num_hidden_layers=3,
            num_attention_heads=5,
            max_position_embeddings=LENGTH,
            bos_token_id=len(ids) - 2,
            eos_token_id=len(ids) - 1,
            pad_token_id=len(ids) - 1,
        )
    )
    shake(transformer, 1.5)
    shake(vqvae, 1.0)
    shake(text, 1.5)
    models = {"transformer": transformer, "vqvae": vqvae, "text_encoder": text}
    for name, model in models.items():
        model.eval().save_pretrained(folder / name)
    models["scheduler"] = AmusedScheduler(mask_token_id=WORDS - 1)
    models["scheduler"].save_pretrained(folder / "scheduler")
    base = folder / "tokenizer"
    base.mkdir()
    (base / "vocab.json").write_text(json.dumps(ids))
    (base / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    return models
