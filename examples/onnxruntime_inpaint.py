"""Inpaint a picture with a MaskGIT Refine bundle, in plain onnxruntime.

Needs numpy, pillow and onnxruntime alone:
python onnxruntime_inpaint.py BUNDLE PICTURE MASK OUT.png   (white in the mask is made again)
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

STEPS, HEAT = 8, 4.5


def load(bundle, manifest, graph, precision="fp32"):
    """A session on one graph of the bundle, in the precision asked for where there is one."""
    variants = manifest["graphs"][graph]
    path = bundle / variants.get(precision, variants["fp32"])["file"]
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def span(low, high, stride, least, most, size):
    """Where the window begins and how many tokens it has, for a selection from low to high."""
    tokens = min(most, size // stride, max(least, 16, -(-(high - low) // stride) + 4))
    start = min(max(0, (low + high - tokens * stride) // 2), size - tokens * stride)
    if tokens < least or start > low or start + tokens * stride < high:
        sys.exit(f"The selection must fit into {most * stride} pixels of a larger picture.")
    return start, tokens


def complete(tokens, ask, codes, rng):
    """MaskGIT's loop: draw all, keep the surest, mask the rest again, fewer each time."""
    at_start = np.count_nonzero(tokens == codes)
    for step in range(STEPS):
        unknown, ratio = tokens == codes, (step + 1) / STEPS
        logits = ask(tokens)
        drawn = (logits + rng.gumbel(size=logits.shape)).argmax(-1)
        logits = logits - logits.max(-1, keepdims=True)
        sure = np.take_along_axis(logits, drawn[..., None], -1)[..., 0]
        sure = sure - np.log(np.exp(logits).sum(-1))
        sure = sure + HEAT * (1 - ratio) * rng.gumbel(size=sure.shape)
        tokens = np.where(unknown, drawn, tokens)
        again = int(at_start * np.cos(np.pi / 2 * ratio))
        tokens.flat[np.argsort(np.where(unknown, sure, np.inf), axis=None)[:again]] = codes
    return tokens


def main(bundle, picture, mask, out):
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    stride, codes = manifest["stride"], manifest["codebook_size"]
    pixels = np.asarray(Image.open(picture).convert("RGB"), np.float32) / 255
    chosen = np.asarray(Image.open(mask).convert("L")) > 127
    rows, columns = np.flatnonzero(chosen.any(1)), np.flatnonzero(chosen.any(0))
    low, high, sides = manifest["grid"]["min"], manifest["grid"]["max"], chosen.shape
    top, height = span(rows[0], rows[-1] + 1, stride, low[0], high[0], sides[0])
    left, width = span(columns[0], columns[-1] + 1, stride, low[1], high[1], sides[1])
    area = np.s_[top : top + height * stride, left : left + width * stride]
    window, hole = pixels[area].copy(), chosen[area]
    window[hole] = window[~hole].mean(0) if not hole.all() else 0.5
    encoder = load(bundle, manifest, "encoder")
    tokens = encoder.run(["tokens"], {"image": window.transpose(2, 0, 1)[None]})[0]
    tokens[0][hole.reshape(height, stride, width, stride).any((1, 3))] = codes
    transformer = load(bundle, manifest, "transformer", "int8")
    null = np.array([manifest["condition"].get("null_label") or 0])
    feeds = {"condition": null} if manifest["condition"]["kind"] == "class" else {}
    rng = np.random.default_rng(0)
    tokens = complete(
        tokens, lambda t: transformer.run(["logits"], {**feeds, "tokens": t})[0], codes, rng
    )
    made = load(bundle, manifest, "decoder").run(["image"], {"tokens": tokens})[0][0]
    pixels[area][hole] = made.transpose(1, 2, 0)[hole]
    Image.fromarray((pixels.clip(0, 1) * 255 + 0.5).astype(np.uint8)).save(out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
