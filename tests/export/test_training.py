"""Training: it learns, survives a kill, skips bad files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from maskgit_daemon.errors import MaskgitError
from maskgit_export.commands.train import train
from maskgit_export.data import load_folder
from maskgit_export.losses import reconstruction_loss, texture_loss
from maskgit_export.masking import random_masks
from maskgit_export.run import Run, load_checkpoint, save_checkpoint
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for label in ("grass", "sky"):
        (folder / label).mkdir(parents=True)
        for number in range(2):
            base = rng.integers(0, 256, (12, 16, 3), np.uint8)
            large = Image.fromarray(base).resize((320, 288), Image.Resampling.BICUBIC)
            large.save(folder / label / f"{number}.png")
    (folder / "sky" / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    Image.new("RGB", (20, 20)).save(folder / "sky" / "tiny.png")
    return folder


def test_categories_come_from_folders_and_bad_files_are_counted(pictures: Path) -> None:
    loaded = load_folder(pictures)
    assert loaded.categories == ("grass", "sky")
    assert sorted(loaded.skipped) == ["broken.jpg", "tiny.png"]
    assert len(loaded.pictures) == 4


def test_categories_come_from_a_table_where_there_is_one(pictures: Path) -> None:
    (pictures / "sources.csv").write_text("file,category\n0.png,water\n", encoding="utf-8")
    assert "water" in load_folder(pictures).categories


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MaskgitError, match="No usable picture"):
        load_folder(tmp_path)


@pytest.mark.parametrize("holes", [0.0, 1.0])
def test_masks_hide_something_and_holes_stay_in_a_rectangle(holes: float) -> None:
    rng = np.random.default_rng(0)
    masks = random_masks(64, 8, 16, rng, schedule="cosine", holes=holes)
    assert masks.flatten(1).any(1).all()
    shares = masks.float().mean((1, 2))
    assert shares.min() < 0.4 < shares.max()


def test_texture_loss_asks_for_grain_but_not_for_its_place() -> None:
    torch.manual_seed(0)
    grain = 0.5 + 0.1 * torch.randn(1, 3, 64, 64)
    other = 0.5 + 0.1 * torch.randn(1, 3, 64, 64)
    flat = torch.full_like(grain, 0.5)
    assert texture_loss(grain, other) < 0.3 * texture_loss(grain, flat)
    assert (grain - flat).abs().mean() < (grain - other).abs().mean()
    assert reconstruction_loss(grain, grain, gradient=1.0, texture=1.0) == 0


def test_a_checkpoint_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": 1})

    class Unwritable:
        def __reduce__(self) -> object:
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        save_checkpoint(path, {"step": 2, "bad": Unwritable()})
    assert load_checkpoint(path)["step"] == 1


@pytest.mark.parametrize("leads", [True, False])
def test_a_run_counts_time_over_restarts_and_saves_when_due(tmp_path: Path, leads: bool) -> None:
    run = Run(tmp_path / "net.pt", minutes=1, every=0.0, spent=30.0, leads=leads)
    assert run.clock.progress == pytest.approx(0.5, abs=0.1)
    run.show(step=1, loss="2.0")
    time.sleep(0.01)
    assert run.due == leads, "one process of a team saves"
    assert run.end({"seconds": run.clock.seconds}) == tmp_path / "net.pt"
    assert (tmp_path / "net.pt").exists() == leads


def test_tokens_outside_a_change_stay_when_the_change_is_far_away() -> None:
    torch.manual_seed(0)
    model = Tokenizer(TokenizerConfig()).eval()
    image = torch.rand(1, 3, 192, 192)
    other = image.clone()
    other[..., :64, :64] = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        near, far = model.encode(image), model.encode(other)
    assert torch.equal(near[:, 16:, 16:], far[:, 16:, 16:])


@pytest.mark.parametrize("shape", [(8, 8), (12, 24), (32, 8)])
def test_one_transformer_takes_any_grid(shape: tuple[int, int]) -> None:
    model = MaskedTransformer(TransformerConfig(codes=32, classes=2, width=64, layers=2, heads=1))
    tokens = torch.randint(0, 33, (2, *shape))
    assert model(tokens, torch.tensor([0, 2])).shape == (2, *shape, 32)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(train, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_stage_runs_resumes_and_leaves_pictures(pictures: Path, tmp_path: Path) -> None:
    stage1, sharp, stage2 = (str(tmp_path / name) for name in ("one", "sharp", "two"))
    common = ("--data", str(pictures), "--threads", "1", "--save-seconds", "0")
    run(
        "tokenizer",
        *common,
        "--out",
        stage1,
        "--minutes",
        "0.04",
        "--batch",
        "2",
        "--warm-steps",
        "1",
    )
    first = load_checkpoint(Path(stage1) / "tokenizer.pt")["step"]
    run(
        "tokenizer",
        *common,
        "--out",
        stage1,
        "--minutes",
        "0.08",
        "--batch",
        "2",
        "--warm-steps",
        "1",
    )
    assert load_checkpoint(Path(stage1) / "tokenizer.pt")["step"] > first
    done = run("tokenizer", *common, "--out", stage1, "--minutes", "0.01", "--batch", "2")
    assert "go on with more --minutes" in done
    tokenizer = ("--tokenizer", f"{stage1}/tokenizer.pt")
    run(
        "decoder",
        *common,
        *tokenizer,
        "--out",
        sharp,
        "--minutes",
        "0.05",
        "--batch",
        "2",
        "--critic-from",
        "0",
    )
    before = load_checkpoint(Path(stage1) / "tokenizer.pt")["model"]
    after = load_checkpoint(Path(sharp) / "tokenizer.pt")["model"]
    assert all(torch.equal(before[n], after[n]) for n in before if n.startswith("encoder."))
    assert torch.equal(before["codebook.codes"], after["codebook.codes"])
    run(
        "transformer",
        *common,
        *tokenizer,
        "--out",
        stage2,
        "--minutes",
        "0.1",
        "--tokens-per-step",
        "256",
    )
    state = load_checkpoint(Path(stage2) / "transformer.pt")
    assert state["categories"] == ["grass", "sky"]
    for picture in (
        f"{stage1}/reconstructions.png",
        f"{sharp}/reconstructions.png",
        f"{stage2}/fills.png",
    ):
        with Image.open(picture) as image:
            image.verify()


def test_a_killed_run_goes_on_from_its_last_checkpoint(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "maskgit_daemon.commands.main",
        "train",
        "tokenizer",
        "--data",
        str(pictures),
        "--out",
        str(out),
        "--minutes",
        "5",
        "--batch",
        "2",
        "--warm-steps",
        "1",
        "--save-seconds",
        "0",
        "--threads",
        "1",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not (out / "tokenizer.pt").exists() and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    step = load_checkpoint(out / "tokenizer.pt")["step"]
    assert step >= 1
    run("tokenizer", "--data", str(pictures), "--out", str(out), "--minutes", "0.0001")
    assert load_checkpoint(out / "tokenizer.pt")["step"] == step
