"""The guidance comparison: its measures, its verdicts, and its two commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.export.test_bundle_writer import save_starter

from maskgit_export.bundle_writer import write_bundle
from maskgit_export.commands.evaluate import evaluate
from maskgit_export.evaluate.guidance import STRENGTHS, Setting, colour_error, is_ours
from maskgit_export.evaluate.guidance_report import knob, unrealism, verdicts
from maskgit_export.families.starter import read
from maskgit_export.run import load_checkpoint, save_checkpoint
from maskgit_export.train_guidance import add_kernel, with_guidance

EDITS = 12
PICTURES = [f"{i // 2}.jpg" for i in range(EDITS)]
PLAIN, OURS, THEIRS = (Setting(m, 0.5) for m in ("none", "default", "context"))


def numbers(error: float, real: float, spread: float = 0.1) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(0).normal(0, spread, EDITS)
    names = ("gradient", "spectrum", "entropy", "kernel", "seam")
    values = dict.fromkeys(names, real + noise)
    values.update({"error16": error + noise, "error4": error + noise})
    return {**values, **{n: np.ones(EDITS) for n in ("made_bits", "real_bits", "seconds")}}


class TestFidelity:
    def test_equal_pictures_have_no_error_and_a_shift_has_its_size(self) -> None:
        painted = np.random.default_rng(0).integers(0, 200, (40, 50, 3)).astype(np.uint8)
        chosen = np.zeros((40, 50), bool)
        chosen[5:30, 7:40] = True
        assert colour_error(painted, painted, chosen, 16) == 0
        assert colour_error(painted, painted + np.uint8(30), chosen, 4) == pytest.approx(30)

    def test_detail_that_averages_out_counts_less_over_larger_squares(self) -> None:
        flat = np.full((64, 64, 3), 128, np.uint8)
        rough = flat + np.random.default_rng(0).integers(-50, 50, flat.shape).astype(np.uint8)
        chosen = np.ones((64, 64), bool)
        coarse, fine = (colour_error(flat, rough, chosen, block) for block in (16, 4))
        assert coarse < 0.5 * fine

    def test_what_is_not_selected_does_not_count(self) -> None:
        flat = np.full((32, 32, 3), 128, np.uint8)
        other = flat.copy()
        other[:16] = 0
        chosen = np.zeros((32, 32), bool)
        chosen[16:] = True
        assert colour_error(flat, other, chosen, 16) == 0


class TestVerdicts:
    def table(self, ours: tuple[float, float], theirs: tuple[float, float]) -> dict:
        plain = Setting("none", 1.0)
        return {plain: numbers(50, 1.0), OURS: numbers(*ours), THEIRS: numbers(*theirs)}

    def test_inpainting_is_as_real_as_itself(self) -> None:
        table = self.table((20, 1), (20, 1))
        assert unrealism(table)[Setting("none", 1.0)].mean() == pytest.approx(1.0)

    @pytest.mark.parametrize(
        ("ours", "theirs", "beaten", "dominates"),
        [
            ((20, 1.2), (30, 1.5), True, False),
            ((30, 1.5), (20, 1.2), False, True),
            ((20, 1.5), (30, 1.2), False, False),
            ((20, 1.2), (30, 1.2), True, False),
        ],
    )
    def test_who_beats_whom(
        self,
        ours: tuple[float, float],
        theirs: tuple[float, float],
        beaten: bool,
        dominates: bool,
    ) -> None:
        verdict = verdicts(self.table(ours, theirs), [OURS], [THEIRS], PICTURES)[0]
        assert verdict["differs"]
        assert bool(verdict["beaten_by"]) == beaten
        assert bool(verdict["dominates"]) == dominates

    def test_the_knob_of_a_straight_line(self) -> None:
        table = {Setting("default", s): numbers(50 * s, 1.0) for s in STRENGTHS}
        table[Setting("none", 1.0)] = numbers(50, 1.0)
        judged = knob(table, "default", STRENGTHS, np.ones(EDITS, bool))
        assert judged.mean_correlation == 1.0
        assert judged.share_monotone == 1.0
        assert judged.largest_step == pytest.approx(0.1)
        assert judged.detail_at_half == judged.time == 1.0

    def test_methods_of_others_are_not_ours(self) -> None:
        assert is_ours("default")
        assert not is_ours("self-identity")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_starter(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def bundle(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundles") / "small"
    return write_bundle(read(*files), target, precisions=("fp32",))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        small = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        large = Image.fromarray(small).resize((320, 288), Image.Resampling.BICUBIC)
        large.save(place / f"{number}.png")
    return place


class TestTheCommands:
    def test_strokes_writes_three_pictures_an_edit(self, pictures: Path, tmp_path: Path) -> None:
        words = ["strokes", "--data", str(pictures), "--out", str(tmp_path / "s"), "--edits", "3"]
        result = CliRunner().invoke(evaluate, words)
        assert result.exit_code == 0, result.output
        facts = json.loads((tmp_path / "s" / "strokes.json").read_text())
        assert [e["kind"] for e in facts["edits"]] == ["inversion", "counterfactual", "brush"]
        for i in range(3):
            parts = [
                np.asarray(Image.open(tmp_path / "s" / f"{i:03d}-{part}.png"))
                for part in ("original", "painted", "selection")
            ]
            outside = parts[2] == 0
            assert np.array_equal(parts[0][outside], parts[1][outside])

    def test_guidance_writes_table_plot_and_sheet(
        self, bundle: Path, pictures: Path, tmp_path: Path
    ) -> None:
        words = ["guidance", "--data", str(pictures), "--bundle", str(bundle), "--brief"]
        words += ["--out", str(tmp_path), "--edits", "3", "--steps", "2", "--threads", "1"]
        result = CliRunner().invoke(evaluate, words)
        assert result.exit_code == 0, result.output
        report = json.loads((tmp_path / "guidance.json").read_text())
        assert report["default"]["curve"][0] == 0
        assert len(report["settings"]) == 12
        plain, *_, full = report["settings"]
        assert full["error16"] == plain["error16"]
        text = (tmp_path / "guidance.md").read_text()
        assert text.count("\n| default |") == 12
        assert text.startswith("| strength | 0 | 0.1 | 0.2 |")
        assert "\n| edits whose own correlation is at least 0.8 | ≥ 90 % | " in text
        for name in ("tradeoff.png", "contact.png", "methods.png"):
            with Image.open(tmp_path / name) as picture:
                assert min(picture.size) > 100

    def test_what_was_made_is_not_made_again_and_not_mixed_with_other_edits(
        self, bundle: Path, pictures: Path, tmp_path: Path
    ) -> None:
        words = ["guidance", "--data", str(pictures), "--bundle", str(bundle), "--brief"]
        words += ["--out", str(tmp_path), "--edits", "2", "--steps", "1", "--threads", "1"]
        assert CliRunner().invoke(evaluate, words).exit_code == 0
        report = json.loads((tmp_path / "guidance.json").read_text())
        first, second = sorted((tmp_path / "edits").glob("*.npz"))
        second.unlink()
        written = first.stat().st_mtime_ns
        assert CliRunner().invoke(evaluate, words).exit_code == 0
        assert first.stat().st_mtime_ns == written
        again = json.loads((tmp_path / "guidance.json").read_text())
        assert again["default"]["curve"] == report["default"]["curve"]
        other = CliRunner().invoke(evaluate, [*words, "--seed", "1"])
        assert "choose another --out" in str(other.exception)

    def test_trained_methods_stand_in_the_comparison_with_their_own_bundles(
        self, files: tuple[Path, Path], bundle: Path, pictures: Path, tmp_path: Path
    ) -> None:
        kernel = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
        learned = add_kernel(bundle, kernel, tmp_path / "learned", overwrite=False)
        state = load_checkpoint(files[1])
        model = with_guidance(state)
        model.guide.weight.data.normal_()
        tuned = {**state, "config": model.config.as_dict(), "model": model.state_dict()}
        save_checkpoint(tmp_path / "tuned.pt", tuned)
        target = tmp_path / "tuned"
        write_bundle(read(files[0], tmp_path / "tuned.pt"), target, precisions=("fp32",))
        words = ["guidance", "--data", str(pictures), "--bundle", str(bundle)]
        words += ["--out", str(tmp_path / "out"), "--edits", "2", "--steps", "2", "--threads", "1"]
        refused = CliRunner().invoke(evaluate, [*words, "--learned", str(bundle)])
        assert "maskgit train guidance" in str(refused.exception)
        words += ["--learned", str(learned), "--iterative", str(target)]
        result = CliRunner().invoke(evaluate, words)
        assert result.exit_code == 0, result.output
        report = json.loads((tmp_path / "out" / "guidance.json").read_text())
        methods = [row["method"] for row in report["settings"]]
        assert (methods.count("self-learned"), methods.count("iterative")) == (3, 1)
        assert set(report["others"]) == {"self-learned", "iterative"}
        judged = {verdict["setting"] for verdict in report["verdicts"]}
        assert {"iterative 0.5", "self-learned 0.5 confidence 0.85"} <= judged
