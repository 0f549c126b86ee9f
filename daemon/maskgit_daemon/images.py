"""Pictures in and out for the command line: 8 bits a channel, lossless, never half written."""

from __future__ import annotations

import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from maskgit_daemon.errors import MaskgitError

MAX_PICTURE_PIXELS = 500_000_000
LOSSLESS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP", ".bmp": "BMP"}
MODES = ("L", "LA", "RGB", "RGBA")

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

    Raises :class:`MaskgitError` for anything else, before its pixels are decoded where possible.
    """
    image = _open(path)
    try:
        if _is_deep(image):
            raise MaskgitError(
                f"{path} has more than 8 bits a channel, which would be lost; convert it to 8 bits."
            )
        if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
            raise MaskgitError(f"{path} is {image.mode}; convert it to RGB first.")
        keep = {k: image.info[k] for k in ("icc_profile", "exif", "dpi") if image.info.get(k)}
        if image.mode not in MODES:
            transparent = "transparency" in image.info or image.mode == "PA"
            image = image.convert("L" if image.mode == "1" else "RGBA" if transparent else "RGB")
        return Picture(np.asarray(image), image.mode, keep)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise MaskgitError(
            f"{path} is damaged ({error}); open and save it again elsewhere."
        ) from error


def read_selection(path: Path, size: tuple[int, int]) -> Bytes:
    """Read an 8-bit mask (H,W): white is selected.  Its size must be ``size`` (width, height)."""
    image = _open(path)
    if image.size != size:
        raise MaskgitError(
            f"The selection is {image.width} × {image.height} but the picture is "
            f"{size[0]} × {size[1]}; give one of the same size."
        )
    try:
        if _is_deep(image):
            raise MaskgitError(f"{path} has more than 8 bits a pixel; save it as an 8-bit mask.")
        mask = np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise MaskgitError(f"{path} is damaged ({error}); save the selection again.") from error
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


def check_target(path: Path) -> None:
    """Refuse, before any work, a file name that cannot hold the result without loss."""
    if path.suffix.lower() not in LOSSLESS:
        raise MaskgitError(
            f"{path} would not be lossless; name the result with {', '.join(sorted(LOSSLESS))}."
        )
    if not path.parent.is_dir():
        raise MaskgitError(f"There is no folder {path.parent}; make it first.")


def write_picture(path: Path, picture: Picture) -> None:
    """Save without loss; the old file stays whole until the new one is.

    Raises :class:`MaskgitError` if it cannot be written (full disk, no permission).
    """
    check_target(path)
    kind = LOSSLESS[path.suffix.lower()]
    options: dict[str, Any] = dict(picture.keep)
    if kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    partial = ""
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            Image.fromarray(picture.pixels).save(stream, kind, **options)
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    except OSError as error:
        if partial:
            Path(partial).unlink(missing_ok=True)
        raise MaskgitError(
            f"{path} could not be written ({error.strerror or error}); free some space or choose "
            "another folder."
        ) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; large paintings are welcome here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
    except FileNotFoundError:
        raise MaskgitError(f"There is no file {path}.") from None
    except Image.DecompressionBombError:
        raise MaskgitError(f"{path} is too large; cut it into parts.") from None
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise MaskgitError(f"{path} is not a picture that can be read ({error}).") from error
    if image.width * image.height > MAX_PICTURE_PIXELS:
        raise MaskgitError(
            f"{path} has over {MAX_PICTURE_PIXELS // 10**6} megapixels; cut it first."
        )
    return image


def _is_deep(image: Image.Image) -> bool:
    """Whether the file has more than 8 bits a channel (Pillow would reduce some silently)."""
    if image.mode.startswith(("I", "F")):
        return True
    parts = [t[3] if isinstance(t[3], tuple) else (t[3],) for t in getattr(image, "tile", ())]
    return any(isinstance(name, str) and ";16" in name for group in parts for name in group)
