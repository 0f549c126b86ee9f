"""A plain numpy forward pass of the tiny Google transformer, written for the tests alone.

It shares no code with the exporter, so a golden trace that comes out equal was really computed.
"""

from __future__ import annotations

from pathlib import Path

import msgpack
import numpy as np

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
CODES = 64
MASK_ROW = -1


def golden(name):
    return np.load(GOLDEN / name, allow_pickle=False)


def load_parameters():
    def array(code, payload):
        assert code == 1
        shape, dtype, raw = msgpack.unpackb(payload, raw=False)
        return np.frombuffer(raw, dtype).reshape(shape)

    blob = (GOLDEN / "google_tiny" / "maskgit_tiny_checkpoint").read_bytes()
    return msgpack.unpackb(blob, ext_hook=array, raw=False)["params"]


class TinyGoogle:
    """``network(tokens, label)``: tokens (h,w) with 64 where unknown → logits (h,w,64)."""

    def __init__(self):
        self.params = load_parameters()

    def __call__(self, tokens, label, guidance=None):
        sequence = np.append(CODES + label, np.where(tokens == CODES, MASK_ROW, tokens).ravel())
        x = self.embed(sequence)
        if guidance is not None:
            there = np.append(False, guidance.ravel() >= 0)[:, None]
            x = x + there * self.embed(np.append(0, guidance.ravel()))
        layer = 0
        while f"TransformerLayer_{layer}" in self.params:
            x = self.block(x, self.params[f"TransformerLayer_{layer}"])
            layer += 1
        head = self.params["MlmLayer_0"]
        x = norm(gelu(affine(x, head["mlm_dense"])), head["mlm_ln"])
        words = self.params["Embed_0"]["word_embeddings"]["embedding"]
        logits = x @ words.T + head["mlm_bias"]["bias"]
        return logits[1:, :CODES].reshape(*tokens.shape, CODES).astype(np.float32)

    def embed(self, sequence):
        tables = self.params["Embed_0"]
        places = tables["position_embeddings"]["embedding"]
        return norm(
            tables["word_embeddings"]["embedding"][sequence] + places[: len(sequence)],
            tables["embeddings_ln"],
        )

    def block(self, x, params):
        attention = params["Attention_0"]["self_attention"]
        query, key, value = (
            np.einsum("nd,dhe->hne", x, attention[name]["kernel"])
            + attention[name]["bias"][:, None]
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        mixed = np.einsum("hne,hed->nd", weights @ value, attention["out"]["kernel"])
        x = norm(x + mixed + attention["out"]["bias"], params["Attention_0"]["attention_output_ln"])
        wide = gelu(affine(x, params["Mlp_0"]["intermediate_output"]))
        return norm(
            x + affine(wide, params["Mlp_0"]["layer_output"]), params["Mlp_0"]["layer_output_ln"]
        )


def affine(x, params):
    return x @ params["kernel"] + params["bias"]


def norm(x, params):
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return centred / scale * params["scale"] + params["bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def as_grid(sequence):
    """(65,) of the goldens, class first and −1 = mask → (8,8) int64 with 64 = mask."""
    cells = sequence[1:].reshape(8, 8).astype(np.int64)
    return np.where(cells == -1, CODES, cells)
