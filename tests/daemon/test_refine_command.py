"""``maskgit refine`` from end to end: real files, a real daemon, the model that ships."""

from __future__ import annotations

import re
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.daemon.refining import (
    environment,
    mask_of,
    maskgit,
    photo,
    pixels,
    refined,
)

from maskgit_daemon.connection_file import maskgit_command
from maskgit_refine.client import connect

# What stays and what changes


@pytest.mark.parametrize(
    ("source", "mode"),
    [
        ("photo.png", "RGB"),
        ("photo.png", "RGBA"),
        ("photo.png", "L"),
        ("photo.png", "LA"),
        ("photo.png", "P"),
        ("photo.jpg", "RGB"),
        ("photo.jpg", "L"),
        ("photo.webp", "RGB"),
        ("photo.webp", "RGBA"),
        ("photo.tif", "RGB"),
        ("photo.tif", "RGBA"),
    ],
)
def test_outside_the_selection_every_byte_stays_and_inside_it_changes(
    home: Path, tmp_path: Path, source: str, mode: str
) -> None:
    image, mask, out = tmp_path / source, tmp_path / "mask.png", tmp_path / "out.png"
    photo(mode).save(image)
    mask_of((200, 150), (40, 60, 120, 100)).save(mask)
    refined(home, image, out, "--selection", mask)
    plain = "RGB" if mode == "P" else mode
    before, after = pixels(image, plain), pixels(out)
    assert before.shape == after.shape
    chosen = pixels(mask) > 0
    assert np.array_equal(before[~chosen], after[~chosen])
    assert (before[chosen] != after[chosen]).mean() > 0.5
    if mode.endswith("A"):
        assert (after[chosen][..., -1] == 255).all()


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_the_result_may_be_any_lossless_file(
    home: Path, files: tuple[Path, Path], suffix: str
) -> None:
    image, mask = files
    target, png = image.with_name(f"out{suffix}"), image.with_name("out.png")
    for out in (target, png):
        refined(home, image, out, "--selection", mask)
    assert np.array_equal(pixels(target), pixels(png))


def test_the_same_seed_gives_the_same_file(home: Path, files: tuple[Path, Path]) -> None:
    image, mask = files
    outs = [image.with_name(f"{n}.png") for n in range(3)]
    for out, seed in zip(outs, ("4", "4", "5"), strict=True):
        refined(home, image, out, "--selection", mask, "--seed", seed)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert outs[0].read_bytes() != outs[2].read_bytes()


def test_variants_are_numbered_and_the_first_is_the_single_one(
    home: Path, files: tuple[Path, Path]
) -> None:
    image, mask = files
    single, many = image.with_name("single.png"), image.with_name("many.png")
    refined(home, image, single, "--selection", mask, "--seed", "9")
    facts = refined(home, image, many, "--selection", mask, "--seed", "9", "--variants", "4")
    written = [image.with_name(f"many-{n}.png") for n in range(1, 5)]
    assert facts["files"] == [str(path) for path in written]
    assert not many.exists()
    assert written[0].read_bytes() == single.read_bytes()
    assert len({path.read_bytes() for path in written}) == 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_strength_0_gives_the_picture_back(home: Path, tmp_path: Path, mode: str) -> None:
    image, mask, out = (tmp_path / name for name in ("photo.png", "mask.png", "out.png"))
    photo(mode).save(image)
    mask_of((200, 150), (40, 60, 120, 100), 200).save(mask)
    refined(home, image, out, "--selection", mask, "--strength", "0")
    assert np.array_equal(pixels(image), pixels(out))


def test_without_a_selection_the_whole_picture_is_made_anew(
    home: Path, files: tuple[Path, Path]
) -> None:
    image, _ = files
    facts = refined(home, image, image.with_name("out.png"))
    assert facts["patches"][0]["grid"] == [19, 25]
    assert (pixels(image) != pixels(image.with_name("out.png"))).mean() > 0.5


def test_a_selection_larger_than_the_models_grid_keeps_what_is_outside(
    home: Path, tmp_path: Path
) -> None:
    size = (420, 300)
    image, mask, out = (tmp_path / name for name in ("photo.png", "mask.png", "out.png"))
    photo("RGB", size).save(image)
    mask_of(size, (30, 30, 390, 270)).save(mask)
    refined(home, image, out, "--selection", mask, "--steps", "1")
    chosen = pixels(mask) > 0
    assert np.array_equal(pixels(image)[~chosen], pixels(out)[~chosen])
    assert (pixels(image)[chosen] != pixels(out)[chosen]).mean() > 0.5


def test_a_picture_of_one_pixel_works(home: Path, tmp_path: Path) -> None:
    image = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (200, 30, 30)).save(image)
    refined(home, image, tmp_path / "out.png")
    assert pixels(tmp_path / "out.png").shape == (1, 1, 3)


def test_a_picture_of_108_megapixels_works(home: Path, tmp_path: Path) -> None:
    size = (12000, 9000)
    image, mask, out = (tmp_path / name for name in ("large.png", "mask.png", "out.png"))
    whole = Image.new("RGB", size, (90, 120, 60))
    whole.paste(photo(), (11_800, 8_850))
    whole.save(image, compress_level=1)
    mask_of(size, (11_900, 8_900, 11_940, 8_940)).save(mask, compress_level=1)
    refined(home, image, out, "--selection", mask)
    before, after = pixels(image), pixels(out)
    changed = np.argwhere((before != after).any(2))
    assert len(changed) > 800
    assert changed.min(0).tolist() >= [8_900, 11_900]
    assert changed.max(0).tolist() < [8_940, 11_940]


def test_the_daemon_is_started_if_none_runs(tmp_path: Path, files: tuple[Path, Path]) -> None:
    own, (image, mask) = tmp_path / "home", files
    refined(own, image, image.with_name("out.png"), "--selection", mask)
    assert maskgit(own, "daemon", "--stop").stdout == "The daemon has ended.\n"


def test_a_bundle_is_named_by_its_folder_from_where_one_stands(
    home: Path, files: tuple[Path, Path]
) -> None:
    from maskgit_daemon.bundle import STARTER

    image, mask = files
    out = image.with_name("out.png")
    done = maskgit(
        home,
        *("refine", image, "--selection", mask, "-o", out, "--steps", "1"),
        *("--model", STARTER.name),
        cwd=STARTER.parent,
    )
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr


def test_what_a_method_holds_is_said_before_the_run(home: Path, files: tuple[Path, Path]) -> None:
    image, mask = files
    out = image.with_name("out.png")

    def said(*options: str) -> str:
        words = ("refine", image, "--selection", mask, "-o", out, "--steps", "1", *options)
        done = maskgit(home, *words)
        assert done.returncode == 0, done.stderr
        return done.stderr

    assert said("--strength", "0.4", "--guidance", "sdedit") == "10 of 25 tokens may change\n"
    assert said("--strength", "0.2") == "13 of 25 tokens may change\n"
    assert said("--strength", "0.2", "--option", "release=0.8") == "20 of 25 tokens may change\n"
    assert said("--strength", "0.2", "--guidance", "colour") == "25 tokens may change\n"
    assert said() == "25 tokens may change\n"
    facts = refined(home, image, out, "--selection", mask, "--strength", "0.2")
    assert (facts["footprint"], facts["may_change"]) == (25, 13)


# What goes wrong on the way


def test_a_full_disk_keeps_the_old_result(home: Path, files: tuple[Path, Path]) -> None:
    image, mask = files
    out = image.with_name("out.png")
    out.write_bytes(b"what was there")
    done = maskgit(
        home,
        *("refine", image, "--selection", mask, "-o", out, "--steps", "1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 1
    assert "could not be written (File too large); free some space" in done.stderr
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in image.parent.iterdir()) == [
        "mask.png",
        "out.png",
        "photo.png",
    ]


def test_ctrl_c_during_a_job_writes_nothing_and_ends_the_job(
    home: Path, files: tuple[Path, Path]
) -> None:
    image, mask = files
    out = image.with_name("out.png")
    process = subprocess.Popen(
        [*maskgit_command(), "refine", image, "--selection", mask, "-o", out, "--steps", "256"],
        env=environment(home),
        stderr=subprocess.PIPE,
        text=True,
        # A run in a shell's background has Ctrl-C switched off, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with connect(home) as client:
        until = time.monotonic() + 60
        while client.status()["jobs"] == 0:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        # What may change is said before the first pass, if it came to that.
        assert re.fullmatch(r"(25 tokens may change)?\s*Aborted!\s*", said)
        while client.status()["jobs"] > 0:
            assert time.monotonic() < until
            time.sleep(0.02)
    assert sorted(path.name for path in image.parent.iterdir()) == ["mask.png", "photo.png"]
    refined(home, image, out, "--selection", mask)
