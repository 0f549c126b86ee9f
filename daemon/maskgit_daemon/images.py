"""Pictures in and out for the command line: 8 bits a channel, lossless, never half written."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from maskgit_daemon.errors import MaskgitError

MAX_WEBP_SIDE = 16383
READ = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
LOSSLESS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"}
MODES = ("L", "LA", "RGB", "RGBA")
OPAQUE = {"L": "LA", "RGB": "RGBA"}

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """Decoded pixels (H,W) or (H,W,C) uint8 in ``mode`` and the metadata to keep."""

    pixels: Bytes
    mode: str
    keep: dict[str, Any]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def window(self, left: int, top: int, width: int, height: int) -> Bytes:
        """A contiguous RGBA (height,width,4) cut."""
        cut = self.pixels[top : top + height, left : left + width]
        return np.ascontiguousarray(Image.fromarray(np.ascontiguousarray(cut)).convert("RGBA"))


def read_picture(path: Path) -> Picture:
    """Read PNG, JPEG, WebP, TIFF or BMP with 8 bits a channel.

    Palettes and transparent colours are resolved to RGB(A), and what a camera stored lying down is
    turned upright.  Raises :class:`MaskgitError` for anything else, before its pixels are decoded
    where possible.
    """
    with _opened(path) as image:
        if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
            raise MaskgitError(f"{path} is {image.mode}; convert it to RGB first.")
        # Photos of many phones hold a second, smaller picture; that one is no page.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise MaskgitError(
                f"{path} holds {image.n_frames} pictures; save the one to refine on its own."  # type: ignore[attr-defined]
            )
        image = _upright(image)
        keep = {k: image.info[k] for k in ("icc_profile", "exif", "dpi") if image.info.get(k)}
        return Picture(np.asarray(_plain(image)), _plain_mode(image), keep)


def read_selection(path: Path, size: tuple[int, int]) -> Bytes:
    """Read an 8-bit mask (H,W): white is selected, and what is transparent is not.

    Its size must be ``size`` (width, height).
    """
    with _opened(path) as image:
        image = _upright(image)
        if image.size != size:
            raise MaskgitError(
                f"The selection is {image.width} × {image.height} but the picture is "
                f"{size[0]} × {size[1]}; give one of the same size."
            )
        image = _plain(image)
        mask = np.asarray(image.convert("L"))
        if image.mode in OPAQUE.values():
            alpha = np.asarray(image.getchannel("A"), np.uint16)
            mask = ((mask * alpha + 127) // 255).astype(np.uint8)
    if not mask.any():
        raise MaskgitError(f"{path} selects nothing: it is all black; paint the part white.")
    return mask


def compose(picture: Picture, patch: Bytes, left: int, top: int) -> Picture:
    """``picture`` with the RGBA ``patch`` (h,w,4) laid over it at (left, top).

    Where the patch's alpha is 0 every byte stays; where it is 255 the patch's colour stands.
    """
    height, width = patch.shape[:2]
    alpha = patch[..., 3]
    window = picture.window(left, top, width, height)
    share = alpha[..., None].astype(np.float32) / 255.0
    below = window[..., 3:].astype(np.float32) / 255.0
    opacity = share + below * (1.0 - share)
    weight = share / np.maximum(opacity, 1e-6)
    colour = patch[..., :3] * weight + window[..., :3] * (1.0 - weight)
    laid = np.dstack([colour, opacity * 255.0])
    made = Image.fromarray((laid + 0.5).astype(np.uint8)).convert(picture.mode)
    pixels = picture.pixels.copy()
    target = pixels[top : top + height, left : left + width]
    chosen = alpha > 0
    target[chosen] = np.asarray(made)[chosen]
    return Picture(pixels, picture.mode, picture.keep)


def check_target(path: Path, size: tuple[int, int] = (1, 1)) -> None:
    """Refuse, before any work, a file that cannot hold a picture of ``size`` without loss."""
    if path.suffix.lower() not in LOSSLESS:
        raise MaskgitError(
            f"{path} would not be lossless; name the result with {', '.join(sorted(LOSSLESS))}."
        )
    if path.suffix.lower() == ".webp" and max(size) > MAX_WEBP_SIDE:
        raise MaskgitError(f"WebP ends at {MAX_WEBP_SIDE} pixels a side; save as PNG or TIFF.")
    if not path.parent.is_dir():
        raise MaskgitError(f"There is no folder {path.parent}; make it first.")
    if path.is_dir():
        raise MaskgitError(f"{path} is a folder; give the name of a file.")


def write_picture(path: Path, picture: Picture) -> None:
    """Save without loss; the old file stays whole until the new one is.

    Raises :class:`MaskgitError` if it cannot be written (full disk, no permission).
    """
    check_target(path, picture.size)
    kind = LOSSLESS[path.suffix.lower()]
    options: dict[str, Any] = dict(picture.keep)
    if kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    if kind == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    # Encoded first: some encoders write past Python and would hide why the disk refused.
    encoded = io.BytesIO()
    Image.fromarray(picture.pixels).save(encoded, kind, **options)
    partial = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(encoded.getbuffer())
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        raise MaskgitError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose "
            "another folder."
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An open picture of 8 bits a channel; what goes wrong with it inside is a sentence."""
    with warnings.catch_warnings():
        # Pillow warns of large pictures, which are welcome here, and of damaged metadata.
        warnings.simplefilter("ignore")
        try:
            with Image.open(path, formats=READ) as image:
                if _is_deep(image):
                    raise MaskgitError(
                        f"{path} has more than 8 bits a channel, which would be lost; "
                        "convert it to 8 bits."
                    )
                yield image
        except MaskgitError:
            raise
        except FileNotFoundError:
            raise MaskgitError(f"There is no file {path}.") from None
        except (Image.DecompressionBombError, MemoryError):
            raise MaskgitError(
                f"{path} is too large (over 178 megapixels, or more than there is memory for); "
                "cut it into parts."
            ) from None
        except UnidentifiedImageError:
            raise MaskgitError(
                f"{path} is not a picture that can be read; give PNG, JPEG, WebP or TIFF."
            ) from None
        except Exception as error:  # Pillow's decoders raise many types at damaged files
            if isinstance(error, OSError) and error.errno is not None:
                raise MaskgitError(
                    f"{path} cannot be read ({error.strerror}); check its permissions."
                ) from error
            raise MaskgitError(
                f"{path} is damaged ({error}); open it in another program and save it again."
            ) from error


def _upright(image: Image.Image) -> Image.Image:
    """The picture as programs show it, its EXIF orientation carried out and taken from it."""
    lying = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    return ImageOps.exif_transpose(image) if lying else image


def _plain_mode(image: Image.Image) -> str:
    """The mode of :data:`MODES` that holds every pixel of ``image``."""
    transparent = "transparency" in image.info or image.mode == "PA"
    mode = {"1": "L"}.get(image.mode, image.mode if image.mode in MODES else "RGB")
    if image.mode == "RGBa":
        return "RGBA"
    return OPAQUE.get(mode, mode) if transparent else mode


def _plain(image: Image.Image) -> Image.Image:
    mode = _plain_mode(image)
    return image if image.mode == mode else image.convert(mode)


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel (Pillow would reduce some silently)."""
    if image.mode.startswith(("I", "F")):
        return True
    parts = [t[3] if isinstance(t[3], tuple) else (t[3],) for t in getattr(image, "tile", ())]
    return any(isinstance(name, str) and ";16" in name for group in parts for name in group)
