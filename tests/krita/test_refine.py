"""A selection refined in the real Krita by the real daemon: what the artist gets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.krita.conftest import OUTPUT
from tests.krita.launch import Profile

pytestmark = pytest.mark.krita

Report = dict[str, Any]


@pytest.fixture(scope="module")
def folder() -> Path:
    return OUTPUT / "refine"


@pytest.fixture(scope="module")
def report(module_profile: Profile, picture: Path, folder: Path) -> Report:
    return module_profile.run("refine", folder, picture=str(picture))


def pixels(folder: Path, name: str, report: Report) -> NDArray[np.uint8]:
    width, height = report["before"]["size"]
    data = np.fromfile(folder / f"{name}.raw", np.uint8)
    return data.reshape(height, width, -1)


def without_active(description: Report) -> Report:
    return {key: value for key, value in description.items() if key != "active"}


def test_the_action_in_the_menu_adds_one_layer_directly_above(report: Report) -> None:
    before, after = report["before"], report["after"]
    assert report["first_name"] == "MaskGIT Refine (seed 7)"
    assert [layer["name"] for layer in after["layers"]] == [
        before["layers"][0]["name"],
        "MaskGIT Refine (seed 7)",
        *(layer["name"] for layer in before["layers"][1:]),
    ]
    assert report["modified"], "Krita must ask before the result is lost"


def test_the_rest_of_the_document_is_as_it_was(report: Report) -> None:
    before, after = report["before"], dict(report["after"])
    added = [layer for layer in after["layers"] if layer["name"] == report["first_name"]]
    assert len(added) == 1
    after["layers"] = [layer for layer in after["layers"] if layer not in added]
    assert after == before, "selection, size, active layer, every other layer's pixels"


def test_the_result_is_transparent_outside_the_selection(report: Report, folder: Path) -> None:
    selected = pixels(folder, "selection", report)[..., 0] > 0
    alpha = pixels(folder, "layer", report)[..., 3]
    assert not alpha[~selected].any()
    assert (alpha[selected] > 0).all()
    before, after = pixels(folder, "before", report), pixels(folder, "after", report)
    assert np.array_equal(before[~selected], after[~selected])


def test_the_pixels_inside_are_new(report: Report, folder: Path) -> None:
    selected = pixels(folder, "selection", report)[..., 0] > 0
    before, after = pixels(folder, "before", report), pixels(folder, "after", report)
    changed = (before != after).any(axis=2)[selected]
    assert changed.mean() > 0.5


def test_one_undo_takes_the_layer_away_and_redo_brings_it_back(report: Report) -> None:
    assert without_active(report["undone"]) == without_active(report["before"])
    after, redone = (
        {layer["name"]: layer["pixels"] for layer in report[name]["layers"]}
        for name in ("after", "redone")
    )
    assert redone == after


def test_a_soft_ragged_selection_over_the_edge_is_the_alpha(report: Report, folder: Path) -> None:
    selection = pixels(folder, "ragged_selection", report)[..., 0]
    alpha = pixels(folder, "ragged_layer", report)[..., 3]
    assert np.count_nonzero((selection > 0) & (selection < 255)) > 0
    assert np.array_equal(alpha, selection)
    before, after = pixels(folder, "before", report), pixels(folder, "ragged_after", report)
    assert np.array_equal(before[selection == 0], after[selection == 0])
    assert report["ragged_message"].startswith("Done in ")


def test_the_status_line_tells_how_many_tokens_may_change(report: Report) -> None:
    assert report["first_message"].endswith("; 144 tokens may change.")


def test_moving_the_strength_tells_what_it_would_do(profile: Profile, picture: Path) -> None:
    report = profile.run("foreseen", OUTPUT / "foreseen", picture=str(picture))
    hint, message, daemon_runs = report["without_daemon"]
    assert message == hint
    assert not daemon_runs, "one is started for a job alone"
    assert report["all"].endswith("; 96 tokens may change.")
    assert report["16"] == "39 of 96 tokens may change"
    assert report["0"] == "0 of 96 tokens may change"
    assert report["60"] == "96 tokens may change"
    assert report["done"].endswith("; 39 of 96 tokens may change.")


def test_no_handler_of_the_plugin_holds_kritas_thread_for_50_ms(report: Report) -> None:
    """Processor time, the quietest of three runs: other programs' share is not the plugin's."""
    for run in report["runs"]:
        print("handlers, ms (wall, processor):", run["handlers_ms"], "loop gap:", run["gap_ms"])
        assert run["handlers_ms"], "the handlers were seen"
    longest = [max(own for _, own in run["handlers_ms"].values()) for run in report["runs"]]
    assert min(longest) <= 50


def test_maskgit_krita_run_opens_krita_with_the_daemon_running(profile: Profile) -> None:
    report = profile.run("nothing", OUTPUT / "run", by_maskgit=True)
    assert report["daemon_runs"]
