"""The examples for other tools: bundles need neither this project nor Python."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from maskgit_daemon.bundle import STARTER

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / "examples" / "onnxruntime_inpaint.py"
NODE = ROOT / "examples" / "onnxruntime_web_inpaint.mjs"


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """A PNG and a ragged selection in it."""
    with Image.open(ROOT / "examples" / "mountain.jpg") as photo:
        picture = photo.convert("RGB").resize((512, 340))
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).ellipse((200, 180, 291, 255), fill=255)
    files = tmp_path / "picture.png", tmp_path / "mask.png"
    picture.save(files[0])
    mask.save(files[1])
    return files


def assert_inpainted(picture: Path, mask: Path, out: Path) -> None:
    """Unchanged outside the selection, another picture but a possible one inside."""
    before, after = (np.asarray(Image.open(p).convert("RGB"), np.int64) for p in (picture, out))
    chosen = np.asarray(Image.open(mask)) > 127
    np.testing.assert_array_equal(before[~chosen], after[~chosen])
    assert (before[chosen] != after[chosen]).any(-1).mean() > 0.8
    ring = before[170:265, 190:300].reshape(-1, 3)
    assert np.abs(after[chosen].mean(0) - ring.mean(0)).max() < 2 * ring.std()
    assert after[chosen].std() > 2


def test_both_are_short() -> None:
    for path in (PYTHON, NODE):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80


def test_plain_onnxruntime(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    tree = ast.parse(PYTHON.read_text(encoding="utf-8"))
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    assert not any("maskgit" in str(name) for name in modules)
    out = tmp_path / "out.png"
    subprocess.run([sys.executable, PYTHON, STARTER, *pictures, out], check=True, timeout=300)
    assert_inpainted(*pictures, out)


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with onnxruntime-web and pngjs, installed by npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = ["npm", "install", "--no-audit", "--no-fund", "onnxruntime-web", "pngjs"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"npm cannot fetch onnxruntime-web: {done.stderr.strip().splitlines()[:1]}")
    return folder


def test_onnxruntime_web(pictures: tuple[Path, Path], tmp_path: Path, node_modules: Path) -> None:
    script = shutil.copy(NODE, node_modules)
    out = tmp_path / "out.png"
    subprocess.run(["node", script, STARTER, *pictures, out], check=True, timeout=300)
    assert_inpainted(*pictures, out)
