"""The full-size Google MaskGIT 256 with random weights: conversion, then one refine, 8 steps.

One refine is encode, 8 transformer passes and decode of a 256 × 256 window; int8 and fp32 in ONNX
Runtime and eager PyTorch with the same weights take turns, so that their ratio holds on a busy
machine too.  Run: python bench/bench_google.py [--repeats 5] [--threads 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import numpy as np
import torch

STEPS, SIDE, CODES, CLASSES = 8, 16, 1024, 1000
WIDTH, HEADS, LAYERS, HIDDEN = 768, 16, 24, 3072
WORDS, POSITIONS = CODES + CLASSES + 1, SIDE * SIDE + 1
CHANNELS, DIM = (128, 128, 256, 256, 512), 256
LABEL = 207

Entries = Iterator[tuple[str, tuple[int, ...]]]


def transformer_arrays() -> Entries:
    """Names and shapes of the published transformer checkpoint."""
    yield "Embed_0/word_embeddings/embedding", (WORDS, WIDTH)
    yield "Embed_0/position_embeddings/embedding", (POSITIONS, WIDTH)
    yield from norm("Embed_0/embeddings_ln")
    for layer in range(LAYERS):
        base = f"TransformerLayer_{layer}"
        attention = f"{base}/Attention_0/self_attention"
        for name in ("query", "key", "value"):
            yield f"{attention}/{name}/kernel", (WIDTH, HEADS, WIDTH // HEADS)
            yield f"{attention}/{name}/bias", (HEADS, WIDTH // HEADS)
        yield f"{attention}/out/kernel", (HEADS, WIDTH // HEADS, WIDTH)
        yield f"{attention}/out/bias", (WIDTH,)
        yield from norm(f"{base}/Attention_0/attention_output_ln")
        yield f"{base}/Mlp_0/intermediate_output/kernel", (WIDTH, HIDDEN)
        yield f"{base}/Mlp_0/intermediate_output/bias", (HIDDEN,)
        yield f"{base}/Mlp_0/layer_output/kernel", (HIDDEN, WIDTH)
        yield f"{base}/Mlp_0/layer_output/bias", (WIDTH,)
        yield from norm(f"{base}/Mlp_0/layer_output_ln")
    yield "MlmLayer_0/mlm_dense/kernel", (WIDTH, WIDTH)
    yield "MlmLayer_0/mlm_dense/bias", (WIDTH,)
    yield from norm("MlmLayer_0/mlm_ln")
    yield "MlmLayer_0/mlm_bias/bias", (WORDS,)


def tokenizer_arrays() -> Entries:
    """Names and shapes of the published tokenizer checkpoint."""
    yield "quantizer/codebook", (CODES, DIM)
    yield "encoder/Conv_0/kernel", (3, 3, 3, CHANNELS[0])
    yield from blocks("encoder", CHANNELS[0], (*CHANNELS, CHANNELS[-1]))
    yield from norm("encoder/GroupNorm_0", CHANNELS[-1])
    yield from convolution("encoder/Conv_1", 1, CHANNELS[-1], DIM)
    yield from convolution("decoder/Conv_0", 3, DIM, CHANNELS[-1])
    upwards = CHANNELS[::-1]
    yield from blocks("decoder", upwards[0], (upwards[0], *upwards))
    for number, channels in enumerate(upwards[:-1], 1):
        yield from convolution(f"decoder/Conv_{number}", 3, channels, channels)
    yield from norm("decoder/GroupNorm_0", CHANNELS[0])
    yield from convolution("decoder/Conv_5", 3, CHANNELS[0], 3)


def norm(name: str, width: int = WIDTH) -> Entries:
    yield f"{name}/scale", (width,)
    yield f"{name}/bias", (width,)


def convolution(name: str, size: int, inputs: int, outputs: int) -> Entries:
    yield f"{name}/kernel", (size, size, inputs, outputs)
    yield f"{name}/bias", (outputs,)


def blocks(side: str, before: int, levels: tuple[int, ...]) -> Entries:
    number = 0
    for channels in levels:
        for _ in range(2):
            base = f"{side}/ResBlock_{number}"
            yield from norm(f"{base}/GroupNorm_0", before)
            yield f"{base}/Conv_0/kernel", (3, 3, before, channels)
            yield from norm(f"{base}/GroupNorm_1", channels)
            yield f"{base}/Conv_1/kernel", (3, 3, channels, channels)
            if before != channels:
                yield f"{base}/Conv_2/kernel", (1, 1, channels, channels)
            before, number = channels, number + 1


def write_flax(path: Path, entries: Entries) -> int:
    """Random weights in the published format; returns how many numbers there are."""
    rng, tree, count = np.random.default_rng(0), {}, 0
    for name, shape in entries:
        values = 0.04 * rng.standard_normal(shape, np.float32)
        if name.endswith("scale"):
            values += 1
        place = tree
        *stems, leaf = name.split("/")
        for stem in stems:
            place = place.setdefault(stem, {})
        packed = msgpack.packb((values.shape, "float32", values.tobytes()))
        place[leaf] = msgpack.ExtType(1, packed)
        count += values.size
    path.write_bytes(msgpack.packb({"params": tree}))
    return count


def convert(folder: Path) -> tuple[Path, float, float]:
    """Run the program's own export: bundle, seconds, peak memory in GB."""
    bundle = folder / "bundle"
    command = [sys.executable, "-c", "from maskgit_daemon.commands.main import main; main()"]
    command += ["export", "google", "--tokenizer", str(folder / "tokenizer")]
    command += ["--transformer", str(folder / "transformer"), "-o", str(bundle)]
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return bundle, time.perf_counter() - began, peak


def onnx_refine(bundle: Path, precision: str, threads: int) -> Callable[[], dict[str, float]]:
    """One refine in ONNX Runtime; seconds by part."""
    from maskgit_daemon.bundle import load_bundle
    from maskgit_daemon.runtime import Conditioning, load_model

    model = load_model(load_bundle(bundle), "cpu", precision, threads)
    image = np.random.default_rng(1).random((1, 3, 256, 256), np.float32)
    tokens = np.full((1, SIDE, SIDE), CODES, np.int64)

    def refine() -> dict[str, float]:
        def steps() -> None:
            for _ in range(STEPS):
                model.logits(tokens, [Conditioning(label=LABEL)])

        return timed(
            encode=lambda: model.encode(image),
            steps=steps,
            decode=lambda: model.decode(tokens % CODES),
        )

    return refine


def torch_refine(folder: Path, threads: int) -> Callable[[], dict[str, float]]:
    """The same in eager PyTorch, float32."""
    from maskgit_export.families.google import read

    torch.set_num_threads(threads)
    source = read(folder / "tokenizer", folder / "transformer")
    graphs = {name: graph.module.eval() for name, graph in source.graphs.items()}
    image = torch.rand(1, 3, 256, 256)
    tokens = torch.full((1, SIDE, SIDE), CODES)

    @torch.no_grad()
    def refine() -> dict[str, float]:
        def steps() -> None:
            for _ in range(STEPS):
                graphs["transformer"](tokens, torch.tensor([LABEL]))

        return timed(
            encode=lambda: graphs["encoder"](image),
            steps=steps,
            decode=lambda: graphs["decoder"](tokens % CODES),
        )

    return refine


def timed(**parts: Callable[[], object]) -> dict[str, float]:
    """Seconds of each part, and of all."""
    found = {}
    for name, part in parts.items():
        began = time.perf_counter()
        part()
        found[name] = time.perf_counter() - began
    return {**found, "whole": sum(found.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = write_flax(folder / "transformer", transformer_arrays())
        numbers_vq = write_flax(folder / "tokenizer", tokenizer_arrays())
        print(f"{numbers:,} + {numbers_vq:,} random weights")
        bundle, seconds, peak = convert(folder)
        sizes = {p.name: round(p.stat().st_size / 1e6, 1) for p in sorted(bundle.glob("*.onnx*"))}
        print(f"conversion: {seconds:.0f} s, peak {peak:.2f} GB; MB: {sizes}")
        ways = {
            "onnx int8": onnx_refine(bundle, "int8", given.threads),
            "onnx fp32": onnx_refine(bundle, "fp32", given.threads),
            "torch fp32": torch_refine(folder, given.threads),
        }
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for turn in range(given.repeats + 1):
            for way, refine in ways.items():
                found = refine()
                if turn:
                    runs[way].append(found)
    table = {
        way: {part: statistics.median(run[part] for run in each) for part in each[0]}
        for way, each in runs.items()
    }
    best = {way: min(run["whole"] for run in each) for way, each in runs.items()}
    print(
        f"one refine, {STEPS} steps, {given.threads} threads, median of {given.repeats} in turns:"
    )
    for way, parts in table.items():
        line = "  ".join(f"{part} {value:.2f} s" for part, value in parts.items())
        print(f"  {way:<10}  {line}  (best {best[way]:.2f} s)")
    ratio = table["torch fp32"]["whole"] / table["onnx int8"]["whole"]
    print(f"  torch fp32 / onnx int8: {ratio:.2f}")
    if given.json:
        facts = {"conversion_s": seconds, "peak_gb": peak, "seconds": table, "ratio": ratio}
        facts |= {"best": best, "load": os.getloadavg()[0]}
        given.json.write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
