"""Growing, variants, refining more and classes as a user runs them: ``maskgit refine``.

A real daemon with the model that ships.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskgit_daemon.connection_file import is_locked, maskgit_command

SIZE = (96, 72)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with its own daemon, a picture and a selection."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MASKGIT_HOME", str(folder / "daemon"))
        ramp = np.indices((SIZE[1], SIZE[0])).transpose(1, 2, 0) * 2
        noise = np.random.default_rng(5).integers(0, 60, (SIZE[1], SIZE[0], 3))
        pixels = np.dstack([ramp, ramp[..., :1]]) + noise
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / "picture.png")
        mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
        mask[16:48, 32:64] = 255
        Image.fromarray(mask).save(folder / "mask.png")
        yield folder
        if is_locked(folder / "daemon"):
            subprocess.run([*maskgit_command(), "daemon", "--stop"], check=True, timeout=60)


def refine(
    home: Path, *arguments: str, name: str = "picture.png"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*maskgit_command(), "refine", str(home / name), "--steps", "2", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def made(home: Path, *arguments: str) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What is printed as JSON, and the pixels of the first file."""
    done = refine(home, "-o", str(home / "out.png"), "--json", *arguments)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    return facts, np.asarray(Image.open(facts["files"][0]))


def selected(home: Path, *arguments: str) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    return made(home, "--selection", str(home / "mask.png"), *arguments)


def test_the_picture_grows_on_each_side_and_keeps_its_own_bytes(home: Path) -> None:
    source = np.asarray(Image.open(home / "picture.png"))
    facts, grown = made(home, "--extend", "left=40,right=9,top=1,bottom=24")
    assert grown.shape == (72 + 25, 96 + 49, 3)
    np.testing.assert_array_equal(grown[1:73, 40:136], source)
    new = np.ones(grown.shape[:2], bool)
    new[1:73, 40:136] = False
    # What was transparent would come out black.
    assert (grown[new].sum(1) == 0).mean() < 0.01
    told = facts["patches"][0]
    assert told["windows"] == 4
    _, same = made(home, "--extend", "left=40,right=9,top=1,bottom=24")
    np.testing.assert_array_equal(same, grown)


def test_a_picture_without_colour_grows_without_colour(home: Path) -> None:
    Image.open(home / "picture.png").convert("LA").save(home / "grey.png")
    done = refine(home, "--extend", "right=16", "-o", str(home / "grey-out.png"), name="grey.png")
    assert done.returncode == 0, done.stderr
    grown = Image.open(home / "grey-out.png")
    assert (grown.mode, grown.size) == ("LA", (112, 72))
    assert np.asarray(grown)[..., 1].min() == 255


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--extend", "left=-5"], 1, "'left=-5' is not a side to extend"),
        (["--extend", "left=0"], 1, "Nothing is to be added"),
        (["--extend", "left=90000000"], 1, "would grow to"),
        (["--extend", "left=5", "--strength", "0.5"], 2, "leave out"),
        (["--extend", "left=5", "--variants", "0"], 1, "must be 1 to 16"),
        (["--extend", "left=5", "--seed", "-1"], 1, "seed must be"),
        (["--extend", "left=5", "--seed", str(2**63)], 1, "seed must be"),
        (["--extend", "left=5", "--steps", "0"], 1, "steps must be"),
        (["--class", "wtaer"], 1, "knows no class 'wtaer'; try water"),
        (["--more", "-1"], 1, "more must be a whole number from 0 to 256"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence_and_leaves_nothing(
    home: Path, arguments: list[str], status: int, words: str
) -> None:
    done = refine(home, "-o", str(home / "never.png"), *arguments)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "never.png").exists()


def test_variants_are_scored_and_the_best_is_the_one_with_the_highest_score(home: Path) -> None:
    facts, _ = selected(home, "--variants", "3")
    files, told = facts["files"], facts["patches"]
    scores = [patch["score"] for patch in told]
    assert all(score < 0 for score in scores)
    assert len(set(scores)) == 3
    assert {patch["score_by"] for patch in told} == {"confidence"}
    winner = int(np.argmax(scores))
    kept, best = selected(home, "--variants", "3", "--best")
    assert [patch["variant"] for patch in kept["patches"]] == [winner]
    expected = np.asarray(Image.open(files[winner]))
    np.testing.assert_array_equal(best, expected)


def test_variants_of_an_extension_are_grown_each_on_its_own(home: Path) -> None:
    facts, first = made(home, "--extend", "right=24", "--variants", "2")
    second = np.asarray(Image.open(facts["files"][1]))
    assert (first != second)[:, 96:].any()
    np.testing.assert_array_equal(first[:, :96], second[:, :96])
    _, alone = made(home, "--extend", "right=24")
    np.testing.assert_array_equal(alone, first)


def test_more_redraws_a_few_tokens_of_the_same_draw(home: Path) -> None:
    # So hot that some tokens are bound to suit nothing round them.
    hot = ("--temperature", "20", "--choice-temperature", "0")
    _, plain = selected(home, *hot)
    _, more = selected(home, *hot, "--more", "24")
    changed = (plain != more).any(2)
    inside = np.asarray(Image.open(home / "mask.png")) > 0
    assert changed.any()
    assert not changed[~inside].any()


def test_a_class_changes_the_draw(home: Path) -> None:
    strongly = ("--guidance-scale", "30")
    _, plain = selected(home)
    _, water = selected(home, "--class", "water", *strongly)
    _, rock = selected(home, "--class", "rock", *strongly)
    _, numbered = selected(home, "--class", "7", *strongly)
    assert len({picture.tobytes() for picture in (plain, water, rock)}) == 3
    np.testing.assert_array_equal(rock, numbered)
