"""aMUSEd equals ``diffusers`` with the same random weights: each graph, and one inpainting."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.export.amused_tiny import CODES, LENGTH, SIDE, WORDS, save_amused

from maskgit_daemon.bundle import Bundle, load_bundle
from maskgit_daemon.decode import DecodeJob, decode
from maskgit_daemon.errors import MaskgitError, RequestError
from maskgit_daemon.noise import GivenNoise
from maskgit_daemon.prompts import prompt_rows
from maskgit_daemon.refine import refine
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import load_model
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.families.amused import read
from maskgit_export.onnx_graphs import run, session

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same model twice: as diffusers has it and as a bundle."""

    models: dict[str, Any]
    bundle: Bundle
    folder: Path

    def run(self, graph: str, **feeds: Any) -> dict[str, Any]:
        arrays = {key: np.asarray(value) for key, value in feeds.items()}
        return run(self.bundle.graphs[graph]["fp32"], arrays)


@pytest.fixture(scope="module", params=[False, True], ids=["256", "512"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("amused")
    models = save_amused(folder, downsample=request.param)
    bundle = load_bundle(write_bundle(read(folder), folder / "bundle", precisions=("fp32", "int8")))
    with torch.no_grad():
        yield Pair(models, bundle, folder)


def text_ids(pair: Pair, *texts: str) -> torch.Tensor:
    """Ids of the texts by the bundle's own tokenizer."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(pair.bundle.folder / "tokenizer.json"))
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(texts))])


TEXTS = ("A red  cat,sky!", "", "9 red\ncats at sky" * 9, "SKY. it's ca7")


def test_tokenizer_equals_transformers(pair: Pair) -> None:
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer.from_pretrained(
        pair.folder / "tokenizer", model_max_length=LENGTH, pad_token="<|endoftext|>"
    )
    wanted = reference(
        list(TEXTS), padding="max_length", truncation=True, max_length=LENGTH
    ).input_ids
    assert text_ids(pair, *TEXTS).tolist() == wanted


def text_reference(pair: Pair, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    outputs = pair.models["text_encoder"](ids, output_hidden_states=True)
    return outputs.hidden_states[-2], outputs.text_embeds


def test_text_encoder(pair: Pair) -> None:
    ids = text_ids(pair, *TEXTS)
    hidden, pooled = text_reference(pair, ids)
    found = pair.run("text_encoder", ids=ids)
    np.testing.assert_allclose(found["text_hidden"], hidden, atol=2e-5)
    np.testing.assert_allclose(found["text_pooled"], pooled, atol=2e-5)


def test_transformer(pair: Pair) -> None:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, CODES, (3, SIDE, SIDE), generator=generator)
    hole = torch.rand(ids.shape, generator=generator) < 0.5
    hidden = torch.randn(3, LENGTH, 40, generator=generator)
    pooled = torch.randn(3, 24, generator=generator)
    micro = torch.tensor([[64.0, 32, 0, 0, 6], [512, 512, 0, 8, 5], [1, 2, 3, 4, 5]])
    wanted = pair.models["transformer"](ids.masked_fill(hole, WORDS - 1), hidden, pooled, micro)
    found = pair.run(
        "transformer",
        tokens=ids.masked_fill(hole, CODES),
        text_hidden=hidden,
        text_pooled=pooled,
        micro_conditions=micro,
    )["logits"]
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1), atol=5e-4)
    assert found.std() > 0.1


def test_encoder_and_decoder(pair: Pair) -> None:
    vqvae = pair.models["vqvae"]
    image = torch.rand(2, 3, 32, 40, generator=torch.Generator().manual_seed(2))
    latents = vqvae.encode(image).latents
    wanted = vqvae.quantize(latents)[2][2].reshape(2, 8, 10)
    found = pair.run("encoder", image=image)["tokens"]
    # Two codes may be equally near up to rounding; there any of them is right.
    distance = torch.cdist(
        latents.permute(0, 2, 3, 1).flatten(0, 2), vqvae.quantize.embedding.weight
    )
    nearest = distance.sort(-1).values
    clear = (nearest[:, 1] - nearest[:, 0] > 1e-4).reshape(wanted.shape).numpy()
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found[clear], wanted.numpy()[clear])
    image = vqvae.decode(wanted, force_not_quantize=True, shape=(2, 8, 10, 12)).sample
    np.testing.assert_allclose(pair.run("decoder", tokens=wanted)["image"], image, atol=1e-4)


def reference_inpainting(
    pair: Pair, start: torch.Tensor, prompts: torch.Tensor, steps: int, scale: float
) -> list[torch.Tensor]:
    """The states of the published loop with classifier-free guidance, drawing from seed 3."""
    generator = torch.Generator().manual_seed(3)
    scheduler, state = pair.models["scheduler"], start.clone()
    scheduler.set_timesteps(steps, (2, 0))
    hidden, pooled = text_reference(pair, prompts)
    micro = torch.tensor([[32.0, 32, 0, 0, 6]]).expand(2, -1)
    ratio = (start == WORDS - 1).sum() / start.numel()
    states = []
    for timestep in scheduler.timesteps:
        logits = pair.models["transformer"](torch.cat([state, state]), hidden, pooled, micro)
        conditional, without = logits.chunk(2)
        mixed = without + scale * (conditional - without)
        state = scheduler.step(
            mixed, timestep, state, starting_mask_ratio=ratio, generator=generator
        ).prev_sample
        states.append(state)
    return states


def given_noise(steps: int) -> GivenNoise:
    """The same noise as Gumbel arrays: exponential for the draw, uniform for the choice.

    aMUSEd's temperature falls from 2 to 0 over steps 0 … T−1, ours from τ = 1 over 1 … T, so the
    choice's noise is scaled by their ratio.
    """
    generator = torch.Generator().manual_seed(3)
    heats = torch.linspace(2, 0, steps)
    cells = SIDE * SIDE
    draws, choices = [], []
    for step in range(steps):
        draws.append(-torch.empty(cells, CODES).exponential_(generator=generator).log())
        uniform = torch.zeros(1, cells)
        if step < steps - 1:
            uniform.uniform_(0, 1, generator=generator)
        gumbel = -torch.log((-torch.log(uniform.clamp(1e-20))).clamp(1e-20))[0]
        choices.append(gumbel * heats[step] / max(1 - (step + 1) / steps, 1e-9))
    return GivenNoise(torch.stack(draws).numpy(), torch.stack(choices).numpy())


def test_inpainting_equals_the_published_loop(pair: Pair) -> None:
    steps, scale = 6, 3.0
    generator = torch.Generator().manual_seed(4)
    picture = torch.rand(1, 3, 4 * SIDE, 4 * SIDE, generator=generator)
    tokens = torch.from_numpy(pair.run("encoder", image=picture)["tokens"])
    hole = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    hole[:, 2:7, 1:6] = True
    prompts = text_ids(pair, "a red cat", "sky")
    wanted = reference_inpainting(pair, tokens.masked_fill(hole, WORDS - 1), prompts, steps, scale)
    net = session(pair.bundle.graphs["transformer"]["fp32"])
    text = pair.run("text_encoder", ids=prompts)
    micro = np.array([[32, 32, 0, 0, 6]] * 2, np.float32)
    job = DecodeJob(
        tokens.masked_fill(hole, CODES)[0].numpy(),
        CODES,
        steps=steps,
        choice_temperature=1.0,
        noise=given_noise(steps),
    )
    loop = decode(job)
    ask = next(loop)
    for step in range(steps):
        feeds = {**text, "tokens": np.stack([ask.tokens] * 2), "micro_conditions": micro}
        conditional, without = net.run(["logits"], feeds)[0]
        mixed = without + np.float32(scale) * (conditional - without)
        if step == steps - 1:
            break
        ask = loop.send(mixed)
        state = wanted[step][0].numpy()
        np.testing.assert_array_equal(ask.tokens, np.where(state == WORDS - 1, CODES, state))
    with pytest.raises(StopIteration) as end:
        loop.send(mixed)
    final = end.value.value
    np.testing.assert_array_equal(final, wanted[-1][0])
    np.testing.assert_array_equal(final[~hole[0].numpy()], tokens[0].numpy()[~hole[0].numpy()])
    reference = pair.models["vqvae"].decode(
        wanted[-1], force_not_quantize=True, shape=(1, SIDE, SIDE, 12)
    )
    image = pair.run("decoder", tokens=final[None])["image"]
    np.testing.assert_allclose(image, reference.sample, atol=1e-4)


def test_manifest_facts(pair: Pair) -> None:
    assert pair.bundle.condition.kind == "prompt"
    assert pair.bundle.stride == 4
    assert "openrail" in pair.bundle.licence
    assert set(pair.bundle.graphs["text_encoder"]) == {"fp32", "int8"}


@pytest.mark.parametrize(
    "name",
    [
        "transformer/config.json",
        "transformer/diffusion_pytorch_model.safetensors",
        "vqvae/config.json",
        "vqvae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    ],
)
@pytest.mark.parametrize("fault", ["missing", "cut", "other"])
def test_broken_folder_is_refused(name: str, fault: str, pair: Pair) -> None:
    path = pair.folder / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if fault == "cut" else b'{"a": [1]}')
    try:
        with pytest.raises(MaskgitError):
            read(pair.folder)
    finally:
        path.write_bytes(content)


def test_prompts_in_the_daemon(pair: Pair) -> None:
    """A request with a prompt and a negative one, through the daemon's own pipeline."""
    model = load_model(pair.bundle, precision="fp32")
    rows = prompt_rows(model, "a red cat", "sky", guided=True)
    hidden, pooled = text_reference(pair, text_ids(pair, "a red cat", "sky"))
    for index, row in enumerate(rows):
        np.testing.assert_allclose(row.text_hidden, hidden[index], atol=2e-5)
        np.testing.assert_allclose(row.text_pooled, pooled[index], atol=2e-5)
        assert row.micro_conditions is not None
        assert row.micro_conditions.tolist() == [4 * SIDE, 4 * SIDE, 0, 0, 6]
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (4 * SIDE, 4 * SIDE, 4), np.uint8)
    pixels[..., 3] = 255
    selection = np.zeros(pixels.shape[:2], np.uint8)
    selection[8:20, 4:24] = 255
    ask = {"bundle": str(pair.bundle.folder), "steps": 2, "guidance": "none"}
    with pytest.raises(RequestError, match="needs a prompt"):
        refine(model, RefineRequest(pixels, selection, **ask))
    words = {"prompt": "a cat", "negative_prompt": "sky", "guidance_scale": 4.0}
    first = refine(model, RefineRequest(pixels, selection, **ask, **words))
    second = refine(model, RefineRequest(pixels, selection, **ask, **{**words, "prompt": "red"}))
    assert first[0].tokens.shape == (SIDE, SIDE)
    assert (first[0].tokens != second[0].tokens).any()
