"""Rewrites of a graph keep its result; int8 decoders do not mix rows or places."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from maskgit_export.families.base import Graph
from maskgit_export.fuse import fold_moves, fuse_rotations
from maskgit_export.onnx_graphs import export_graph, run
from maskgit_export.quantise import save
from maskgit_export.quantise_convolutions import quantise_convolutions, random_grids
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

CODES = 32


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = Tokenizer(
            TokenizerConfig(codes=CODES, code_dim=4, width=16, encoder_blocks=1, decoder_blocks=1)
        )
        for weight in self.model.parameters():
            if not weight.any():
                nn.init.normal_(weight, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.decode(tokens)


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One decoder in fp32 and in int8."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("decoders")
    tokens = torch.randint(0, CODES, (2, 5, 6))
    axes = {"tokens": {0: "B", 1: "h", 2: "w"}}
    export_graph(Graph(Decoder(), {"tokens": tokens}, ("image",), axes), folder / "decoder.onnx")
    quantise_convolutions(folder / "decoder.onnx", folder / "int8.onnx", random_grids(CODES))
    return folder / "decoder.onnx", folder / "int8.onnx"


def test_decoder_in_int8_stays_close(decoders: tuple[Path, Path]) -> None:
    tokens = np.random.default_rng(1).integers(0, CODES, (2, 9, 12))
    exact, close = (run(path, {"tokens": tokens})["image"] for path in decoders)
    assert np.abs(exact - close).mean() < 0.05 * exact.std()
    kinds = [node.op_type for node in onnx.load(os.fspath(decoders[1])).graph.node]
    assert "Sigmoid" not in kinds
    assert kinds.count("DequantizeLinear") > kinds.count("Conv") - 2


def test_decoder_in_int8_does_not_mix_rows(decoders: tuple[Path, Path]) -> None:
    tokens = np.random.default_rng(2).integers(0, CODES, (3, 8, 8))
    together = run(decoders[1], {"tokens": tokens})["image"]
    for row in range(3):
        alone = run(decoders[1], {"tokens": tokens[row : row + 1]})["image"]
        np.testing.assert_array_equal(together[row], alone[0])


def test_fused_transformer_gives_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = MaskedTransformer(TransformerConfig(CODES, classes=2, width=64, layers=2, heads=2))
    for weight in net.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.1)
    inputs = {"tokens": torch.randint(0, CODES, (2, 9, 10)), "condition": torch.zeros(2).long()}
    axes = {"tokens": {0: "B", 1: "h", 2: "w"}, "condition": {0: "B"}}
    path, fused = tmp_path / "net.onnx", tmp_path / "fused.onnx"
    export_graph(Graph(net, inputs, ("logits",), axes), path)
    model = onnx.load(os.fspath(path))
    fold_moves(model)
    fuse_rotations(model)
    save(model, fused)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("RotaryEmbedding") == 4
    assert "Split" not in kinds
    for shape in ((1, 8, 8), (3, 13, 9)):
        feeds = {
            "tokens": np.random.default_rng(3).integers(0, CODES, shape),
            "condition": np.zeros(shape[0], np.int64),
        }
        exact, found = (run(each, feeds)["logits"] for each in (path, fused))
        np.testing.assert_allclose(found, exact, atol=2e-5)
