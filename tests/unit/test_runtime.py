"""The graphs of the bundle that ships, in ONNX Runtime: shapes, types, rows, precisions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.runtime import Conditioning, Model, _one_node, available_threads, load_model


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest) -> Model:
    return load_model(load_bundle(STARTER), "cpu", request.param, threads=1)


def tokens(
    model: Model, rows: int, height: int, width: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    rng = np.random.default_rng(height * width)
    return rng.integers(0, model.bundle.mask_id + 1, (rows, height, width))


@pytest.mark.parametrize("grid", [(8, 8), (9, 13), (32, 8), (16, 16)])
def test_any_grid_within_the_bounds_works(model: Model, grid: tuple[int, int]) -> None:
    stride, codes = model.bundle.stride, model.bundle.codes
    image = np.random.default_rng(0).random((2, 3, grid[0] * stride, grid[1] * stride), np.float32)
    encoded = model.encode(image)
    assert (encoded.dtype, encoded.shape) == (np.int64, (2, *grid))
    assert encoded.min() >= 0
    assert encoded.max() < codes
    logits = model.logits(tokens(model, 2, *grid))
    assert (logits.dtype, logits.shape) == (np.float32, (2, *grid, codes))
    assert np.isfinite(logits).all()
    decoded = model.decode(encoded)
    assert (decoded.dtype, decoded.shape) == (np.float32, image.shape)


def test_a_row_is_the_same_alone_and_in_company(model: Model) -> None:
    if not model.rows_independent:
        pytest.skip("the bundle does not promise it")
    batch = tokens(model, 4, 12, 10)
    together = model.logits(batch)
    for row in range(4):
        alone = model.logits(batch[row : row + 1])[0]
        assert together[row] == pytest.approx(alone, abs=2e-4)


def test_the_class_matters_and_none_is_the_null_class(model: Model) -> None:
    grid = tokens(model, 1, 8, 8)
    null = model.bundle.condition.null_label
    plain, told, rock = (
        model.logits(grid, [Conditioning(label=label)]) for label in (None, null, 7)
    )
    assert np.array_equal(plain, told)
    assert not np.allclose(plain, rock, atol=1e-3)


def test_the_decoder_shows_what_was_encoded(model: Model) -> None:
    ramp = np.linspace(0.2, 0.8, 64, dtype=np.float32)
    image = np.broadcast_to(ramp, (1, 3, 64, 64)).copy()
    assert np.abs(model.decode(model.encode(image)) - image).mean() < 0.1


def test_time_in_the_runtime_is_counted_by_graph(model: Model) -> None:
    before = dict(model.spent)
    model.logits(tokens(model, 1, 8, 8))
    assert model.spent["transformer"] > before.get("transformer", 0.0)


def test_the_smallest_model_that_probes_a_device_is_sound() -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(_one_node(), providers=["CPUExecutionProvider"])
    value = np.array([3.5], np.float32)
    assert session.run(None, {"x": value})[0] == value


def test_threads_are_those_this_process_may_use() -> None:
    assert available_threads() >= 1


QUIET = """
import sys
from maskgit_daemon.bundle import STARTER, load_bundle
from maskgit_daemon.runtime import load_model, pick_device
model = load_model(load_bundle(STARTER), pick_device("auto"))
assert "torch" not in sys.modules and "onnx" not in sys.modules
print(model.device)
"""


def test_it_loads_quietly_and_without_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", QUIET], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in ("cpu", "cuda")
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["maskgit_daemon.runtime", "maskgit_export.onnx_graphs"])
def test_nothing_is_reported_to_anyone(module: str, tmp_path: Path) -> None:
    """ONNX Runtime's own telemetry would leave its queue in the home folder."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "XDG_"))}
    code = f"import {module}\n{QUIET if 'runtime' in module else ''}"
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=environment | {"HOME": str(tmp_path)}, check=True)
    assert not [path for path in tmp_path.rglob("*") if "icrosoft" in str(path)]
