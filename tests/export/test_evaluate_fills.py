"""Fills are judged on holes whose content no method sees; verdicts say what they mean."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from maskgit_daemon.bundle import load_bundle
from maskgit_daemon.commands.main import group
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.noise import SeededNoise
from maskgit_daemon.runtime import load_model
from maskgit_export.bundle_writer import write_bundle
from maskgit_export.data import load_folder
from maskgit_export.evaluate import classifier, duplicates, fills, likelihood, memory, studies
from maskgit_export.evaluate.classes import judge_classes
from maskgit_export.evaluate.coders import to_image, to_pixels
from maskgit_export.evaluate.intervals import bootstrap
from maskgit_export.evaluate.pictures import native_windows
from maskgit_export.evaluate.sheet import Row, contact_sheet, save_picture
from maskgit_export.families.starter import read
from maskgit_export.tokenizer import Tokenizer, TokenizerConfig
from maskgit_export.transformer import MaskedTransformer, TransformerConfig

COLOURS = {"grass": (60, 150, 60), "sky": (110, 160, 230)}


def picture(category, seed, side=(144, 176)):
    """Noise of the category's colour and roughness (H,W,3)."""
    rng = np.random.default_rng((seed, len(category)))
    sigma = 0.6 if category == "grass" else 6.0
    noise = ndimage.gaussian_filter(rng.normal(size=(*side, 3)), (sigma, sigma, 0))
    return np.clip(COLOURS[category] + 25 * noise / noise.std(), 0, 255).astype(np.uint8)


def make_folder(folder: Path, seeds) -> Path:
    with (folder / "SOURCES.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "category"])
        for seed in seeds:
            for category in COLOURS:
                name = f"{category}_{seed}.png"
                Image.fromarray(picture(category, seed)).save(folder / name)
                table.writerow([name, category])
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("photos"), range(4))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("data"), range(10, 12))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    config = TokenizerConfig(codes=32, code_dim=4, width=8, encoder_blocks=1, decoder_blocks=1)
    path = tmp_path_factory.mktemp("checkpoints") / "tokenizer.pt"
    model = Tokenizer(config).state_dict()
    torch.save({"kind": "tokenizer", "config": config.as_dict(), "model": model}, path)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint, tmp_path_factory):
    """An untrained model of the starter's family."""
    folder = tmp_path_factory.mktemp("bundle")
    config = TransformerConfig(codes=32, classes=2, width=32, layers=1, heads=2)
    torch.manual_seed(1)
    state = {
        "kind": "transformer",
        "config": config.as_dict(),
        "categories": list(COLOURS),
        "model": MaskedTransformer(config).state_dict(),
    }
    torch.save(state, folder / "transformer.pt")
    source = read(checkpoint, folder / "transformer.pt")
    return write_bundle(source, folder / "tiny", precisions=("fp32",))


@pytest.fixture(scope="module")
def model(bundle):
    return load_model(load_bundle(bundle), precision="fp32", threads=1)


@pytest.fixture(scope="module")
def tasks(data):
    return fills.make_tasks(data, "free-form", 4, 96, (0.1, 0.3), 0)


def test_every_kind_of_hole_gets_the_same_windows_and_every_picture_its_turn(data, tasks):
    others = fills.make_tasks(data, "centre", 4, 96, (0.1, 0.3), 0)
    for a, b in zip(tasks, others, strict=True):
        assert np.array_equal(a.window.pixels, b.window.pixels)
    assert len({t.window.picture for t in tasks}) == 4


def test_no_method_sees_what_was_in_the_hole(model, tasks):
    task = tasks[0]
    inverted = np.where(task.hole[..., None], 255 - task.window.pixels, task.window.pixels)
    window = type(task.window)(task.window.picture, task.window.category, inverted)
    other = fills.Task(window, task.kind, task.hole, task.seed)
    assert np.array_equal(task.shown, other.shown)
    first, _ = fills.our_fill(model, task, fills.Settings(steps=2))
    second, _ = fills.our_fill(model, other, fills.Settings(steps=2))
    assert np.array_equal(first, second)
    assert np.array_equal(first[~task.hole], task.window.pixels[~task.hole])


def test_every_method_is_scored_on_every_task_and_the_original_itself_is_perfect(model, tasks):
    seen = []
    scores = fills.run(
        model, tasks[:2], ["mean", "telea"], fills.Settings(steps=2), lambda t, m, p: seen.append(m)
    )
    assert seen == ["ours", "mean", "telea"] * 2
    assert [s.method for s in scores] == seen
    assert all(s.seconds > 0 and 0.1 <= s.share <= 0.3 for s in scores)
    perfect = fills.score("original", tasks[0], tasks[0].window.pixels, 0.0)
    assert (perfect.gradient, perfect.spectrum, perfect.entropy) == (0, 0, 0)
    assert perfect.kernel == pytest.approx(0, abs=1e-12)
    table = fills.summarise(scores)
    assert list(table) == ["ours", "mean", "telea"]
    assert fills.best_peer(scores) in ("mean", "telea")


def a_score(method, picture, seed, value):
    return fills.Score(method, "centre", picture, seed, 0.25, 1.0, *([value] * 5))


@pytest.mark.parametrize(("ours", "verdict"), [(1.0, "better"), (3.0, "worse"), (2.0, "unclear")])
def test_a_verdict_needs_an_interval_that_leaves_zero_out(ours, verdict):
    scores = []
    for seed in range(12):
        wobble = 0.3 * (-1) ** seed
        scores.append(a_score("ours", f"p{seed}", seed, ours + wobble))
        scores.append(a_score("telea", f"p{seed}", seed, 2.0 - wobble))
    found = fills.against(scores, "telea", "gradient")
    assert found["verdict"] == verdict
    assert found["apart"] == (verdict != "unclear")
    assert found["difference"].value == pytest.approx(ours - 2.0)


def test_variants_differ_and_one_of_a_kind_has_no_distance(model, tasks):
    assert fills.diversity(model, tasks[:1], fills.Settings(steps=2)).value > 0
    frozen = fills.Settings(steps=2, temperature=0.0, choice_temperature=0.0)
    assert fills.diversity(model, tasks[:1], frozen).value == 0


@given(value=st.floats(-1e6, 1e6), pictures=st.integers(1, 6))
@settings(max_examples=10, deadline=None)
def test_the_interval_of_equal_values_is_that_value(value, pictures):
    names = [f"p{i % pictures}" for i in range(8)]
    assert bootstrap([value] * 8, names) == pytest.approx((value, value, value))


def test_holes_of_one_picture_do_not_pass_for_many_pictures():
    values = [0.0] * 50 + [1.0] * 50
    apart = bootstrap(values, [str(i) for i in range(100)])
    lumped = bootstrap(values, ["a"] * 50 + ["b"] * 50)
    assert apart.value == lumped.value == 0.5
    assert apart.high - apart.low < 0.25
    assert (lumped.low, lumped.high) == (0.0, 1.0)
    assert bootstrap(values, [str(i) for i in range(100)], np.median).low == 0.0


def test_a_copy_is_found_whatever_its_size_or_side_and_others_are_not(photos, tmp_path):
    copy = Image.open(photos / "sky_2.png")
    copy.resize((120, 96)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "copy.jpg")
    Image.fromarray(picture("grass", 77)).save(tmp_path / "other.png")
    found = {p.picture: p for p in duplicates.find_duplicates(photos, tmp_path)}
    assert found["copy.jpg"].duplicate
    assert found["copy.jpg"].nearest == "sky_2.png"
    assert not found["other.png"].duplicate


def test_a_copied_patch_is_near_wherever_it_came_from_and_a_new_one_is_far(photos):
    folder = load_folder(photos, min_side=32)
    source = folder.pictures[3].scales[0]
    copied = source[37:69, 51:83]
    mirrored = np.ascontiguousarray(source[20:52, 90:122][:, ::-1])
    new = picture("grass", 99)[:32, :32]
    distances = memory.nearest_distances([copied, mirrored, new], memory.training_pixels(folder))
    assert distances[:2] == pytest.approx(0, abs=1e-3)
    assert distances[2] > 0.5


def test_the_busiest_patch_lies_in_the_hole_and_on_the_texture():
    pixels = np.full((96, 96, 3), 100, np.uint8)
    pixels[48:80, 48:80] = picture("grass", 0)[:32, :32]
    hole = np.zeros((96, 96), bool)
    hole[40:, 40:] = True
    assert memory.busiest(pixels, hole) == (48, 48)
    assert memory.busiest(pixels, np.zeros((96, 96), bool)) is None


def test_likelihood_of_an_untrained_model_is_that_of_guessing(model, data):
    windows = [w.pixels for w in native_windows(data, 4, 64, 0)]
    report = likelihood.judge_likelihood(model, windows)
    assert report.tokens == 4 * 32
    assert report.model == pytest.approx(np.log(32), abs=0.3)
    assert report.frequencies <= np.log(32) + 0.01
    assert report.gain == pytest.approx(report.frequencies - report.model)


def test_sequential_decoding_takes_one_pass_a_token_and_parallel_decoding_its_steps(model):
    rows = studies.study_speed(model, [8], [1, 4])
    assert [(r.tokens, r.steps, r.passes) for r in rows] == [(64, 1, 1), (64, 4, 4), (64, 64, 64)]
    assert "64 tokens take" in studies.speed_sentence(rows)


def test_with_nothing_hidden_only_the_tokenizer_is_left(model, data):
    windows = [w.pixels for w in native_windows(data, 2, 64, 0)]
    rows = studies.study_ratios(model, windows, [0.0, 0.5], fills.Settings(steps=2))
    coded = to_pixels(model.decode(model.encode(to_image(np.stack(windows)))))
    psnrs = [studies.psnr(a, b) for a, b in zip(windows, coded, strict=True)]
    assert rows[0].psnr == pytest.approx(np.mean(psnrs), abs=0.01)
    assert "50%" in studies.ratio_sentence(rows)


def test_completing_keeps_the_known_tokens(model):
    start = np.arange(64).reshape(8, 8) % 33
    job = studies._job(model, start, fills.Settings(steps=3), 5)
    tokens, passes = studies.complete(model, job)
    assert passes == 3
    assert np.array_equal(tokens[start < 32], start[start < 32])
    assert tokens.max() < 32
    assert isinstance(job.noise, SeededNoise)


def test_the_judge_tells_grass_from_sky_and_is_asked_about_both(model, photos, data):
    losses = []
    judge = classifier.train_judge(load_folder(photos, scales=(1.0,)), 0.1, 0, losses.append)
    assert losses[-1] < losses[0]
    windows = native_windows(data, 4, 128, 0)
    report = judge_classes(model, judge, windows, None, 0)
    assert report.accuracy == 1.0
    assert (report.windows, report.classes, report.chance) == (4, 2, 0.5)
    assert 0 <= report.asked <= 1


def test_a_judge_needs_two_categories(tmp_path):
    Image.fromarray(picture("sky", 0)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="two categories"):
        classifier.train_judge(load_folder(tmp_path), 0.01, 0, print)


def test_a_sheet_shows_every_picture_at_its_own_size(tmp_path):
    rows = [Row(f"seed {i}", (np.full((40, 50, 3), 60 * i, np.uint8),) * 3) for i in range(3)]
    sheet = contact_sheet(rows, ["hole", "ours", "original"])
    assert sum((np.asarray(sheet) == 120).all(2).ravel()) >= 3 * 40 * 50
    save_picture(tmp_path / "deep" / "sheet.png", sheet)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["sheet.png"]


def test_two_runs_are_compared_hole_by_hole():
    first = [a_score("ours", f"p{i}", i, 2.0 + i).as_dict() for i in range(4)]
    second = [{**s, "gradient": s["gradient"] + 0.35} for s in first]
    found = fills.compare_scores(first, second)["centre"]
    assert found["gradient"] == pytest.approx((0.1, 0.1, 0.1))
    assert found["seam"] == (0, 0, 0)
    with pytest.raises(ValueError, match="same holes"):
        fills.compare_scores(first, second[:3])


def call(*arguments):
    return CliRunner().invoke(group, ["evaluate", *map(str, arguments)], catch_exceptions=False)


def test_the_commands_write_numbers_plots_and_pictures(bundle, data, photos, tmp_path):
    common = ("--bundle", bundle, "--data", data, "--precision", "fp32", "--out", tmp_path)
    call("fills", *common, "--photos", photos, "--holes", 2, "--side", 96, "--steps", 2,
         "--kinds", "centre", "--peers", "mean,telea", "--variants-of", 1)  # fmt: skip
    values = json.loads((tmp_path / "fills.json").read_text())
    assert set(values["kinds"]["centre"]["methods"]) == {"ours", "mean", "telea"}
    assert len(values["scores"]) == 6
    assert {"memory", "likelihood"} <= set(values)
    again = call("compare", tmp_path / "fills.json", tmp_path / "fills.json", "--json")
    assert json.loads(again.output)["centre"]["kernel"] == [0, 0, 0]
    told = call("studies", *common, "--pictures", 1, "--steps", "1,2", "--schedules", "cosine",
                "--temperatures", "1", "--choices", "1", "--ratios", "0.5", "--grids", "8",
                "--side", 96)  # fmt: skip
    assert len(told.output.strip().splitlines()[-4:]) == 4
    call("data", "--data", data, "--photos", photos, "--out", tmp_path)
    call("tokenizer", "--bundle", bundle, "--data", data, "--crops", 4, "--out", tmp_path)
    call("sheet", "--bundle", bundle, "--data", data, "-o", tmp_path / "sheet.png", "--count", 2,
         "--side", 96, "--peer", "telea", "--precision", "fp32")  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == {
        "fills.json", "fills-centre.png", "studies.json", "schedules.png", "sampling.png",
        "ratios.png", "speed.png", "data.json", "tokenizer.json", "sheet.png",
    }  # fmt: skip


def test_a_checkpoint_is_judged_like_a_bundle(checkpoint, bundle, data):
    tail = ("--data", data, "--crops", 4, "--json")
    first, second = (
        json.loads(call("tokenizer", kind, path, *tail).output)
        for kind, path in (("--tokenizer", checkpoint), ("--bundle", bundle))
    )
    assert first["psnr"] == pytest.approx(second["psnr"], abs=0.05)
    assert first["perplexity"] == pytest.approx(second["perplexity"], abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fills", "--kinds", "round"), "no kind of hole 'round'"),
        (("fills", "--peers", "photoshop"), "no peer 'photoshop'"),
        (("fills", "--side", "4096"), "at least 4096 pixels|No usable picture"),
        (("studies", "--steps", "many"), "not a list of numbers"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(bundle, data, arguments, sentence):
    with pytest.raises(MaskgitError, match=sentence):
        call(*arguments, "--bundle", bundle, "--data", data, "--precision", "fp32")


def test_a_tokenizer_or_a_bundle_must_be_given(data):
    result = call("tokenizer", "--data", data)
    assert result.exit_code == 2
    assert "either --tokenizer or --bundle" in result.output
