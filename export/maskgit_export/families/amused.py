"""aMUSEd (arXiv 2401.01808), text prompts, from a folder in the layout of ``diffusers``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from maskgit_export.families.base import Graph, Source, bundle_graphs
from maskgit_export.families.clip_text import END, ClipSizes, ClipText, tokenizer_file
from maskgit_export.families.llamagen import LlamaGenSizes, LlamaGenVq
from maskgit_export.families.reading import CheckpointError, fill, first_line
from maskgit_export.families.uvit import MICRO_CONDITIONS, Uvit, UvitSizes

LICENCE = "openrail++ (see the publisher's page for the terms of use)"
ORIGIN = "https://huggingface.co/amused"

Sizes = TypeVar("Sizes", UvitSizes, ClipSizes)


class Prompted(nn.Module):
    """tokens (B,h,w) with mask id K and the text → logits (B,h,w,K)."""

    def __init__(self, net: Uvit, mask: int) -> None:
        super().__init__()
        self.net, self.mask = net, mask

    def forward(
        self, tokens: Tensor, text_hidden: Tensor, text_pooled: Tensor, micro_conditions: Tensor
    ) -> Tensor:
        ids = torch.where(tokens == self.net.sizes.codebook_size, self.mask, tokens)
        logits: Tensor = self.net(ids, text_hidden, text_pooled, micro_conditions)
        return logits.permute(0, 2, 3, 1)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises :class:`CheckpointError`."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing; give the whole folder as aMUSEd's authors publish it."
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); fetch it again.") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is not a configuration; fetch it again.")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The arrays of a safetensors file; raises :class:`CheckpointError`."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} is missing; give the whole folder as aMUSEd's authors publish it."
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({first_line(error)}); fetch it again."
        ) from error


def sizes_from(kind: type[Sizes], config: Mapping[str, Any], path: Path) -> Sizes:
    """The sizes a configuration states, defaults for the rest; whole numbers where they belong."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name not in config:
            continue
        value, default = config[field.name], field.default
        if type(value) is not type(default) and not (
            isinstance(default, float) and isinstance(value, int)
        ):
            raise CheckpointError(f"{path}: {field.name} is {value!r}; fetch the file again.")
        if isinstance(value, int) and not isinstance(value, bool) and not 0 < value < 1 << 20:
            raise CheckpointError(f"{path}: {field.name} is {value}; fetch the file again.")
        given[field.name] = value
    return kind(**given)


def read_uvit(folder: Path) -> Uvit:
    """The transformer; raises :class:`CheckpointError`."""
    config_file = folder / "transformer" / "config.json"
    config = read_json(config_file)
    if config.get("use_bias") or not config.get("ln_elementwise_affine", True):
        raise CheckpointError(f"{config_file} is of a variant that was never published.")
    sizes = sizes_from(UvitSizes, config, config_file)
    if sizes.micro_cond_embed_dim != MICRO_CONDITIONS * sizes.micro_cond_encode_dim:
        raise CheckpointError(f"{config_file} does not take {MICRO_CONDITIONS} micro-conditions.")
    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    with torch.device("meta"):
        model = Uvit(sizes)
    fill(model, read_weights(path), path, "aMUSEd transformer")
    return model.eval()


def read_text_encoder(folder: Path) -> ClipText:
    """The CLIP text encoder; raises :class:`CheckpointError`."""
    config_file = folder / "text_encoder" / "config.json"
    config = read_json(config_file)
    if config.get("hidden_act", "quick_gelu") not in ("quick_gelu", "gelu"):
        raise CheckpointError(f"{config_file} names the activation {config['hidden_act']!r}.")
    path = folder / "text_encoder" / "model.safetensors"
    with torch.device("meta"):
        model = ClipText(sizes_from(ClipSizes, config, config_file))
    weights = {
        re.sub(r"^text_model\.(encoder\.|embeddings\.)?", "", name): value
        for name, value in read_weights(path).items()
        if not name.endswith("position_ids")
    }
    fill(model, weights, path, "CLIP text encoder")
    return model.eval()


VQ_NAMES = {
    r"\.(down|up)_blocks\.": ".conv_blocks.",
    r"\.mid_block\.resnets\.": ".mid.",
    r"\.resnets\.": ".res.",
    r"\.(down|up)samplers\.0\.": r".\1sample.",
    r"\.conv_shortcut\.": ".nin_shortcut.",
    r"\.conv_norm_out\.": ".norm_out.",
}


def vq_name(name: str) -> str:
    """The published name of a tokenizer's array as the module here calls it."""
    for pattern, text in VQ_NAMES.items():
        name = re.sub(pattern, text, name)
    return name


def read_vq(folder: Path) -> LlamaGenVq:
    """The tokenizer; raises :class:`CheckpointError`."""
    config_file = folder / "vqvae" / "config.json"
    config = read_json(config_file)
    try:
        channels = tuple(int(n) for n in config["block_out_channels"])
        sizes = LlamaGenSizes(
            channels=channels,
            codes=int(config["num_vq_embeddings"]),
            dim=int(config.get("vq_embed_dim") or config["latent_channels"]),
            latent=int(config["latent_channels"]),
            encoder=int(config["layers_per_block"]),
            decoder=int(config["layers_per_block"]) + 1,
            attention=False,
            sphere=False,
            signed=False,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{config_file} is not complete ({error}); fetch it again."
        ) from error
    odd = config.get("mid_block_add_attention", True) or config.get("norm_num_groups", 32) != 32
    if odd or not 0 < sizes.codes < 1 << 20 or any(n % 32 or not n for n in channels):
        raise CheckpointError(f"{config_file} is of a variant that was never published.")
    path = folder / "vqvae" / "diffusion_pytorch_model.safetensors"
    with torch.device("meta"):
        model = LlamaGenVq(sizes)
    weights = {vq_name(name): value for name, value in read_weights(path).items()}
    fill(model, weights, path, "aMUSEd tokenizer")
    return model.eval()


def read_tokenizer(folder: Path, length: int) -> bytes:
    """The text tokenizer as one file; raises :class:`CheckpointError`."""
    base = folder / "tokenizer"
    pad: Any = END
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (base / name).is_file():
            stated = read_json(base / name).get("pad_token", pad)
            pad = stated.get("content", pad) if isinstance(stated, dict) else stated
    try:
        vocabulary = (base / "vocab.json").read_text(encoding="utf-8")
        merges = (base / "merges.txt").read_text(encoding="utf-8")
        return tokenizer_file(vocabulary, merges, length, str(pad))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{error.filename} is missing; give the whole folder as aMUSEd's authors publish it."
        ) from None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"The tokenizer in {base} cannot be read ({first_line(error)}); fetch it again."
        ) from error


def read(folder: Path, name: str = "amused") -> Source:
    """The folder as a source for a bundle; raises :class:`CheckpointError`."""
    net, vq, text = read_uvit(folder), read_vq(folder), read_text_encoder(folder)
    codes, side = net.sizes.codebook_size, net.sizes.sample_size
    scheduler = folder / "scheduler" / "scheduler_config.json"
    config = read_json(scheduler) if scheduler.is_file() else {}
    mask = int(config.get("mask_token_id", net.sizes.vocab_size - 1))
    fits = (
        codes == vq.sizes.codes
        and codes <= mask < net.sizes.vocab_size
        and text.sizes.hidden_size == net.sizes.encoder_hidden_size
        and text.sizes.projection_dim == net.sizes.cond_embed_dim
    )
    if not fits:
        raise CheckpointError(
            f"The parts in {folder} do not belong together; fetch the whole folder again."
        )
    length = text.sizes.max_position_embeddings
    ids = torch.randint(0, text.sizes.vocab_size - 1, (2, length))
    ids[:, -1] = text.sizes.vocab_size - 1
    tokens = torch.randint(0, codes + 1, (2, side, side))
    pixels = float(side * vq.sizes.stride)
    inputs = {
        "tokens": tokens,
        "text_hidden": torch.randn(2, length, text.sizes.hidden_size),
        "text_pooled": torch.randn(2, text.sizes.projection_dim),
        "micro_conditions": torch.tensor([[pixels, pixels, 0.0, 0.0, 6.0]] * 2),
    }
    transformer = Graph(Prompted(net, mask), inputs, ("logits",), {key: {0: "B"} for key in inputs})
    graphs = bundle_graphs(vq, transformer, codes=codes, stride=vq.sizes.stride, example=(5, 6))
    graphs["text_encoder"] = Graph(
        text, {"ids": ids}, ("text_hidden", "text_pooled"), {"ids": {0: "B"}}
    )
    return Source(
        family="amused",
        name=name,
        stride=vq.sizes.stride,
        codes=codes,
        grid_min=(side, side),
        grid_max=(side, side),
        graphs=graphs,
        codebook=vq.quantize.codes().detach().numpy(),
        condition={"kind": "prompt"},
        licence=LICENCE,
        origin=ORIGIN,
        files={"tokenizer.json": read_tokenizer(folder, length)},
    )
