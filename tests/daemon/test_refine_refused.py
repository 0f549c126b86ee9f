"""What ``maskgit refine`` refuses: one sentence, and no file is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.daemon.refining import mask_of, maskgit, refusal


def test_a_bad_picture_or_selection_gets_a_sentence(home: Path, files: tuple[Path, Path]) -> None:
    image, mask = files
    out = image.with_name("out.png")

    def said(source: Path, selection: Path) -> str:
        return refusal(home, source, "--selection", selection, "-o", out)

    small, black = image.with_name("small.png"), image.with_name("black.png")
    mask_of((199, 150), (0, 0, 9, 9)).save(small)
    mask_of((200, 150), (0, 0, 0, 0)).save(black)
    assert "The selection is 199 × 150 but the picture is 200 × 150" in said(image, small)
    assert "selects nothing" in said(image, black)
    assert "There is no file" in said(image.with_name("none.png"), mask)
    assert "There is no file" in said(image, image.with_name("none.png"))
    broken = image.with_name("broken.png")
    broken.write_bytes(image.read_bytes()[:2000])
    assert "is damaged" in said(broken, mask)
    deep = image.with_name("deep.png")
    Image.fromarray(np.zeros((150, 200), np.uint16)).save(deep)
    assert "more than 8 bits a channel" in said(deep, mask)
    assert not out.exists()


def test_more_than_16_megapixels_at_once_are_refused(home: Path, tmp_path: Path) -> None:
    image = tmp_path / "large.png"
    Image.new("L", (4001, 4000)).save(image)
    sentence = refusal(home, image, "-o", tmp_path / "out.png")
    assert "16.0 megapixels; select at most 16 megapixels at once" in sentence


def test_a_result_that_loses_something_is_refused(home: Path, files: tuple[Path, Path]) -> None:
    image, mask = files
    said = refusal(home, image, "--selection", mask, "-o", image.with_name("out.jpg"))
    assert "would not be lossless" in said
    said = refusal(home, image, "--selection", mask, "-o", image.parent / "no" / "out.png")
    assert "There is no folder" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--strength", "1.5"], "The strength must be a number from 0 to 1"),
        (["--strength", "-0.1"], "The strength must be a number from 0 to 1"),
        (["--strength", "nan"], "must be a finite number"),
        (["--strength", "inf"], "must be a finite number"),
        (["--guidance", "magic"], "There is no guidance 'magic'; choose one of default, local-"),
        (["--guidance", "iterative"], "tune one with maskgit train iterative"),
        (["--guidance", "iterative", "--strength", "0"], "maskgit train iterative"),
        (["--guidance", "self-learned", "--strength", "0.5"], "maskgit train guidance"),
        (["--option", "pull=3"], "takes no option 'pull'; it takes: tolerance"),
        (["--guidance", "sdedit", "--option", "release=2"], "release must be from 0 to 1, not 2.0"),
        (["--guidance", "sdedit", "--option", "release=nan"], "an object of at most 64 finite"),
        (["--steps", "0"], "The steps must be a whole number from 1 to 256"),
        (["--seed", "-1"], "seed"),
        (["--schedule", "sawtooth"], "sawtooth"),
        (["--class", "unicorn"], "knows no class 'unicorn'"),
        (["--prompt", "a unicorn"], "takes no prompt"),
        (["--model", "other"], "There is no model 'other'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    home: Path, files: tuple[Path, Path], options: list[str], says: str
) -> None:
    image, mask = files
    out = image.with_name("out.png")
    assert says in refusal(home, image, "--selection", mask, "-o", out, *options)
    assert not out.exists()


@pytest.mark.parametrize(
    "options", [["--option", "blend"], ["--option", "blend=much"], ["--steps", "many"], ["--no"]]
)
def test_wrong_usage_is_status_2(home: Path, files: tuple[Path, Path], options: list[str]) -> None:
    done = maskgit(home, "refine", files[0], "-o", files[0].with_name("out.png"), *options)
    assert done.returncode == 2
    assert "Error: " in done.stderr
