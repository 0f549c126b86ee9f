"""Pictures from files and back: what is kept to the byte, what is refused, and in which words."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.images import (
    Picture,
    check_target,
    compose,
    read_picture,
    read_selection,
    write_picture,
)

SHAPES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}
FEW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def noise(mode: str, width: int = 33, height: int = 21, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, *SHAPES[mode]), np.uint8)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return len(data).to_bytes(4, "big") + kind + data + check.to_bytes(4, "big")


def deep_png(path: Path, colour_type: int, channels: int) -> Path:
    """A PNG of 16 bits a channel, which Pillow itself cannot write."""
    header = (5).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes([16, colour_type, 0, 0, 0])
    row = b"\0" + bytes(range(5 * channels * 2))
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 4)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))
    return path


def deep_tiff(path: Path, channels: int, bits: int = 16, kind: int = 1) -> Path:
    """A little-endian TIFF of ``bits`` bits a channel; ``kind``: 1 unsigned, 3 float."""
    width, height = 5, 4
    data = bytes(width * height * channels * bits // 8)
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if channels >= 3 else 1),
        (273, 4, 1, 8),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (339, 3, channels, kind),
    ]
    if channels == 4:
        tags.insert(9, (338, 3, 1, 2))
    after = 8 + len(data)
    extra = after + 2 + 12 * len(tags) + 4
    block, tail = len(tags).to_bytes(2, "little"), b""
    for tag, kind_of, count, value in tags:
        block += tag.to_bytes(2, "little") + kind_of.to_bytes(2, "little")
        block += count.to_bytes(4, "little")
        if count > 2:
            block += (extra + len(tail)).to_bytes(4, "little")
            tail += value.to_bytes(2, "little") * count
        else:
            block += value.to_bytes(4, "little")
    path.write_bytes(b"II*\0" + after.to_bytes(4, "little") + data + block + bytes(4) + tail)
    return path


# Reading


@pytest.mark.parametrize("mode", list(SHAPES))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_what_is_written_is_read_again_to_the_byte(tmp_path: Path, mode: str, suffix: str) -> None:
    picture = Picture(noise(mode), mode, {})
    path = tmp_path / f"picture{suffix}"
    write_picture(path, picture)
    again = read_picture(path)
    if suffix == ".webp" and mode.startswith("L"):
        # WebP has no grey: the same picture as RGB(A).
        expected = np.asarray(Image.fromarray(picture.pixels).convert(again.mode))
    else:
        assert again.mode == mode
        expected = picture.pixels
    assert np.array_equal(again.pixels, expected)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
def test_pixels_are_those_that_pillow_decodes(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"picture{suffix}", Image.fromarray(noise("RGB")))
    with Image.open(path) as image:
        assert np.array_equal(read_picture(path).pixels, np.asarray(image))


def test_a_palette_becomes_colours_and_a_bitmap_grey(tmp_path: Path) -> None:
    image = Image.fromarray(noise("RGB"))
    palette = read_picture(saved(tmp_path / "p.png", image.quantize(16)))
    assert (palette.mode, palette.pixels.shape) == ("RGB", (21, 33, 3))
    bitmap = read_picture(saved(tmp_path / "b.png", image.convert("1")))
    assert bitmap.mode == "L"
    assert set(np.unique(bitmap.pixels)) == {0, 255}


@pytest.mark.parametrize("transparency", [3, bytes(range(16))])
def test_transparent_palette_entries_stay_transparent(tmp_path: Path, transparency: Any) -> None:
    image = Image.fromarray(noise("RGB")).quantize(16)
    picture = read_picture(saved(tmp_path / "p.png", image, transparency=transparency))
    assert picture.mode == "RGBA"
    index = np.asarray(image)
    alpha = [0 if n == 3 else 255 for n in range(16)] if transparency == 3 else transparency
    assert np.array_equal(picture.pixels[..., 3], np.array(list(alpha), np.uint8)[index])


@pytest.mark.parametrize(("mode", "colour"), [("L", 7), ("RGB", (1, 2, 3))])
def test_a_transparent_colour_becomes_alpha(tmp_path: Path, mode: str, colour: Any) -> None:
    pixels = np.zeros((4, 5, *SHAPES[mode]), np.uint8)
    pixels[1, 2] = colour
    path = saved(tmp_path / "t.png", Image.fromarray(pixels), transparency=colour)
    picture = read_picture(path)
    assert picture.mode == mode + "A"
    assert np.argwhere(picture.pixels[..., -1] == 0).tolist() == [[1, 2]]


def test_profile_resolution_and_camera_notes_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Camera"
    source = saved(
        tmp_path / "in.jpg",
        Image.fromarray(noise("RGB")),
        icc_profile=b"profile",
        exif=exif,
        dpi=(300, 300),
    )
    picture = read_picture(source)
    for suffix in (".png", ".tif", ".webp"):
        target = tmp_path / f"out{suffix}"
        write_picture(target, picture)
        with Image.open(target) as image:
            assert image.info["icc_profile"] == b"profile"
            assert image.getexif()[0x010F] == "Camera"
            if suffix != ".webp":
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stored_lying_down_is_turned_upright_once(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "lying.png", Image.fromarray(noise("RGB")), exif=exif)
    picture = read_picture(path)
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(picture.pixels, shown)
    write_picture(tmp_path / "again.png", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "again.png").pixels, shown)


# What is refused


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_of_16_bits_is_refused(tmp_path: Path, kind: int, channels: int) -> None:
    path = deep_png(tmp_path / "deep.png", kind, channels)
    with Image.open(path) as image:
        image.load()  # a sound file
    with pytest.raises(MaskgitError, match="more than 8 bits a channel"):
        read_picture(path)
    with pytest.raises(MaskgitError, match="more than 8 bits a channel"):
        read_selection(path, (5, 4))


@pytest.mark.parametrize(
    ("channels", "bits", "kind"), [(1, 16, 1), (3, 16, 1), (4, 16, 1), (1, 32, 3), (1, 32, 1)]
)
def test_a_tiff_of_more_than_8_bits_is_refused(
    tmp_path: Path, channels: int, bits: int, kind: int
) -> None:
    path = deep_tiff(tmp_path / "deep.tif", channels, bits, kind)
    with Image.open(path) as image:
        image.load()  # a sound file
    with pytest.raises(MaskgitError, match="more than 8 bits a channel"):
        read_picture(path)


def test_a_compressed_tiff_of_16_bits_is_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(np.arange(20, dtype=np.uint16).reshape(4, 5))
    path = saved(tmp_path / "deep.tif", grey, compression="tiff_lzw")
    with pytest.raises(MaskgitError, match="more than 8 bits a channel"):
        read_picture(path)


def test_a_picture_for_print_is_refused(tmp_path: Path) -> None:
    image = Image.fromarray(noise("RGB")).convert("CMYK")
    for name in ("print.jpg", "print.tif"):
        with pytest.raises(MaskgitError, match="is CMYK; convert it to RGB first"):
            read_picture(saved(tmp_path / name, image))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_several_pictures_in_one_file_are_refused(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.fromarray(noise("RGB", seed=seed)) for seed in (1, 2))
    path = saved(tmp_path / f"two{suffix}", first, save_all=True, append_images=[second])
    with pytest.raises(MaskgitError, match="holds 2 pictures"):
        read_picture(path)


@pytest.mark.parametrize("kind", ["gif", "txt", "empty"])
def test_other_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"other.{kind}"
    if kind == "gif":
        Image.fromarray(noise("L")).save(path)
    else:
        path.write_text("no picture" if kind == "txt" else "")
    with pytest.raises(MaskgitError, match="is not a picture that can be read"):
        read_picture(path)


def test_a_file_that_is_not_there_or_not_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MaskgitError, match=r"There is no file .*nothing\.png"):
        read_picture(tmp_path / "nothing.png")
    with pytest.raises(MaskgitError, match="cannot be read"):
        read_picture(tmp_path)


def test_a_picture_that_claims_to_be_gigantic_is_refused_unread(tmp_path: Path) -> None:
    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b""))
    with pytest.raises(MaskgitError, match="is too large"):
        read_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@FEW
@given(data=st.data())
def test_any_damage_is_a_picture_or_a_sentence(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    path = saved(tmp_path / f"whole{suffix}", Image.fromarray(noise("RGB")))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(content)
    try:
        sentence = f"{broken} has {read_picture(broken).pixels.ndim} axes."
    except MaskgitError as error:
        sentence = str(error)
    assert re.fullmatch(rf"(There is no|{re.escape(str(broken))}) .*\.", sentence, re.DOTALL)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_picture_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"cut{suffix}", Image.fromarray(noise("RGB", 200, 200)))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(MaskgitError, match=r"is damaged|is not a picture"):
        read_picture(path)


# Selections


def test_a_selection_is_white_on_black_in_any_kind_of_picture(tmp_path: Path) -> None:
    mask = np.zeros((21, 33), np.uint8)
    mask[4:9, 5:20] = 255
    mask[9, 5:20] = 128
    image = Image.fromarray(mask)
    for name, kind in (("l.png", "L"), ("rgb.png", "RGB"), ("p.png", "P"), ("rgba.webp", "RGBA")):
        options = {"lossless": True} if name.endswith("webp") else {}
        path = saved(tmp_path / name, image.convert(kind), **options)
        assert np.array_equal(read_selection(path, (33, 21)), mask)


def test_white_that_is_transparent_is_not_selected(tmp_path: Path) -> None:
    pixels = np.full((21, 33, 4), 255, np.uint8)
    pixels[..., 3] = np.arange(33) * 7
    path = saved(tmp_path / "mask.png", Image.fromarray(pixels))
    assert np.array_equal(read_selection(path, (33, 21)), pixels[..., 3])


def test_a_selection_of_another_size_or_of_nothing_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.png", Image.new("L", (33, 21), 255))
    with pytest.raises(MaskgitError, match="is 33 × 21 but the picture is 32 × 21"):
        read_selection(path, (32, 21))
    black = saved(tmp_path / "black.png", Image.new("L", (33, 21)))
    with pytest.raises(MaskgitError, match="selects nothing"):
        read_selection(black, (33, 21))


# Laying a patch over a picture


@pytest.mark.parametrize("mode", list(SHAPES))
@FEW
@given(data=st.data())
def test_only_what_the_patch_covers_changes(mode: str, data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    left = data.draw(st.integers(0, width - 1))
    top = data.draw(st.integers(0, height - 1))
    wide = data.draw(st.integers(1, width - left))
    tall = data.draw(st.integers(1, height - top))
    picture = Picture(noise(mode, width, height), mode, {})
    before = picture.pixels.copy()
    patch = noise("RGBA", wide, tall, seed=1)
    patch[..., 3] = data.draw(hnp.arrays(np.uint8, (tall, wide), elements=st.integers(0, 255)))
    after = compose(picture, patch, left, top).pixels
    assert np.array_equal(picture.pixels, before)
    covered = np.zeros((height, width), bool)
    covered[top : top + tall, left : left + wide] = patch[..., 3] > 0
    assert np.array_equal(after[~covered], before[~covered])
    whole = np.zeros((height, width), bool)
    whole[top : top + tall, left : left + wide] = patch[..., 3] == 255
    if mode in ("RGB", "RGBA"):
        assert np.array_equal(after[whole][:, :3], patch[patch[..., 3] == 255][:, :3])
    if mode in ("LA", "RGBA"):
        assert (after[whole][:, -1] == 255).all()


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_half_selected_pixels_are_mixed(below: int, above: int, share: int) -> None:
    picture = Picture(np.full((1, 1, 3), below, np.uint8), "RGB", {})
    patch = np.array([[[above, above, above, share]]], np.uint8)
    mixed = compose(picture, patch, 0, 0).pixels[0, 0, 0]
    assert abs(int(mixed) - (above * share + below * (255 - share)) / 255) <= 0.5 + 1e-4


# Writing


@pytest.mark.parametrize("name", ["out.jpg", "out.gif", "out", "out.bmp"])
def test_a_result_that_would_lose_something_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MaskgitError, match="would not be lossless"):
        check_target(tmp_path / name)


def test_a_target_that_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(MaskgitError, match="There is no folder"):
        check_target(tmp_path / "nowhere" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(MaskgitError, match="is a folder"):
        check_target(tmp_path / "folder.png")
    with pytest.raises(MaskgitError, match="WebP ends at 16383 pixels"):
        check_target(tmp_path / "out.webp", (20_000, 10))


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from maskgit_daemon.errors import MaskgitError
from maskgit_daemon.images import Picture, write_picture
pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_picture(Path(sys.argv[1]), Picture(pixels, "RGB", {}))
except MaskgitError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="file size limits are a thing of Unix")
@pytest.mark.parametrize("name", ["out.png", "out.tif", "out.webp"])
def test_a_full_disk_is_told_and_leaves_the_old_file_whole(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_bytes(b"what was there")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "could not be written (File too large); free some space" in done.stdout
    assert target.read_bytes() == b"what was there"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name == "nt", reason="permission bits are a thing of Unix")
def test_a_result_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_picture(tmp_path / "out.png", Picture(noise("RGB"), "RGB", {}))
    expected = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "out.png").stat().st_mode == expected
