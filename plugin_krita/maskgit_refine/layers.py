"""Between Krita's layers and plain RGBA bytes: choose the target, read it, add the result.

Krita's U8 pixels are B G R A in memory; everything outside this file sees R G B A. Whatever is
long works in strips and yields between them (the number yielded is a pause in milliseconds), so
that :mod:`maskgit_refine.slices` can keep the GUI alive.
"""

from __future__ import annotations

from typing import Any, Generator, Iterator, NamedTuple, Tuple

STRIP_PIXELS = 1 << 18
RETRY_MS = 30
KINDS = {
    "grouplayer": "a group layer",
    "vectorlayer": "a vector layer",
    "filelayer": "a file layer",
    "clonelayer": "a clone layer",
    "filterlayer": "a filter layer",
    "filllayer": "a fill layer",
}
MODELS = {"RGBA": "RGB", "GRAYA": "grayscale", "CMYKA": "CMYK", "LABA": "L*a*b*"}
DEPTHS = {"U8": "8-bit", "U16": "16-bit", "F16": "16-bit float", "F32": "32-bit float"}


class PictureError(Exception):
    """The picture cannot be worked on as it is; ``str(error)`` is one sentence for the artist."""


class Rect(NamedTuple):
    """A rectangle in canvas pixels."""

    left: int
    top: int
    width: int
    height: int

    def within(self, width: int, height: int) -> Rect:
        """What of it lies on a canvas of that size; width or height is 0 if nothing does."""
        left, top = max(self.left, 0), max(self.top, 0)
        right = min(self.left + self.width, width)
        bottom = min(self.top + self.height, height)
        return Rect(left, top, max(right - left, 0), max(bottom - top, 0))

    def strips(self) -> Iterator[Rect]:
        """The same area as full-width strips of at most about ``STRIP_PIXELS`` pixels."""
        rows = max(1, STRIP_PIXELS // max(1, self.width))
        for row in range(0, self.height, rows):
            height = min(rows, self.height - row)
            yield Rect(self.left, self.top + row, self.width, height)


class Target(NamedTuple):
    """What the artist pointed at when the action was triggered."""

    document: Any
    layer: Any
    selection: Any
    bounds: Rect
    canvas: Tuple[int, int]


def find_target(application: Any) -> Target:
    """The active layer and selection, or :class:`PictureError` saying what is in the way."""
    document = application.activeDocument()
    if document is None or not is_open(application, document):
        raise PictureError("No picture is open; open one and select the part to make again.")
    layer = document.activeNode()
    if layer is None or layer.parentNode() is None:
        raise PictureError("No layer is active; click a paint layer in the Layers docker.")
    check_layer(layer)
    selection = document.selection()
    if selection is None or selection.width() <= 0 or selection.height() <= 0:
        raise PictureError("Nothing is selected; select the part of the layer to make again.")
    canvas = (document.width(), document.height())
    selected = Rect(selection.x(), selection.y(), selection.width(), selection.height())
    bounds = selected.within(*canvas)
    if not bounds.width or not bounds.height:
        raise PictureError("The selection lies outside the picture; select a part of the picture.")
    return Target(document, layer, selection.duplicate(), bounds, canvas)


def check_layer(layer: Any) -> None:
    """Refuse a layer that is not an unlocked paint layer of RGB/Alpha, 8-bit."""
    name = layer.name()
    if layer.type() != "paintlayer":
        kind = KINDS.get(layer.type(), "a mask")
        raise PictureError(f"“{name}” is {kind}; choose a paint layer and try again.")
    holder = layer
    while holder is not None:
        if holder.locked():
            raise PictureError(f"“{holder.name()}” is locked; unlock it or choose another layer.")
        holder = holder.parentNode()
    model, depth = layer.colorModel(), layer.colorDepth()
    if (model, depth) != ("RGBA", "U8"):
        colours = f"{DEPTHS.get(depth, depth)} {MODELS.get(model, model)}"
        raise PictureError(
            f"“{name}” is {colours}; the plugin works on 8-bit RGB layers so far: "
            "convert it with Layer ▸ Convert ▸ Convert Layer Color Space."
        )


def is_open(application: Any, document: Any) -> bool:
    """Whether the document is among the open ones (a closed one can linger as the active one)."""
    return any(document == other for other in application.documents())


def check_target(application: Any, target: Target) -> None:
    """Refuse if the picture or layer is no longer what the job was made for."""
    if not is_open(application, target.document):
        raise PictureError("The picture was closed before its result came; nothing was changed.")
    if (target.document.width(), target.document.height()) != target.canvas:
        raise PictureError("The picture's size was changed meanwhile; refine the selection again.")
    if target.layer.parentNode() is None:
        raise PictureError("The layer was deleted before its result came; nothing was changed.")
    check_layer(target.layer)


def read_window(
    application: Any, target: Target, window: Rect
) -> Generator[int, None, Tuple[bytes, bytes]]:
    """Yield pauses, return (RGBA pixels, selection) of ``window``: 4 and 1 bytes a pixel.

    The layer is read from a snapshot, so that painting on does not tear it.
    """
    yield from _wait_for_strokes(application, target)
    snapshot = target.layer.duplicate()
    pixels, selection = [], []
    for strip in window.strips():
        count = strip.width * strip.height
        pixels.append(swap_red_blue(_exactly(snapshot.pixelData(*strip), 4 * count)))
        selection.append(_exactly(target.selection.pixelData(*strip), count))
        yield 0
    mask = b"".join(selection)
    if mask.count(0) == len(mask):
        raise PictureError("Nothing inside the picture is selected; select a part of the picture.")
    yield 0
    return b"".join(pixels), mask


def add_layer(
    application: Any, target: Target, name: str, area: Rect, pixels: bytes
) -> Generator[int, None, Any]:
    """Yield pauses; put a new layer with ``pixels`` (RGBA) directly above the target's.

    The layer is filled before it is added: that makes adding it the one undo step. Returns the
    layer that was active just before, for Krita makes the new one active a moment later.
    """
    _exactly(pixels, 4 * area.width * area.height)
    check_target(application, target)
    layer = target.document.createNode(name, "paintlayer")
    profile = target.layer.colorProfile()
    if (layer.colorModel(), layer.colorDepth(), layer.colorProfile()) != ("RGBA", "U8", profile):
        layer.setColorSpace("RGBA", "U8", profile)
    start = 0
    for strip in area.strips():
        end = start + 4 * strip.width * strip.height
        data = swap_red_blue(pixels[start:end])
        layer.setPixelData(data, *strip)
        if bytes(layer.pixelData(*strip)) != data:  # its return value differs among Kritas
            raise PictureError("Krita did not take the result's pixels; nothing was changed.")
        start = end
        yield 0
    yield from _wait_for_strokes(application, target)
    active = target.document.activeNode()
    if not target.layer.parentNode().addChildNode(layer, target.layer):
        raise PictureError("Krita refused the new layer; nothing was changed.")
    if layer.parentNode() is None:  # addChildNode says True even where it adds nothing
        raise PictureError("Krita did not take the new layer; nothing was changed.")
    return active


def swap_red_blue(data: bytes) -> bytes:
    """RGBA to BGRA or back, 4 bytes a pixel."""
    out = bytearray(data)
    out[0::4] = data[2::4]
    out[2::4] = data[0::4]
    return bytes(out)


def _wait_for_strokes(application: Any, target: Target) -> Generator[int, None, None]:
    """Yield until no brush stroke or filter runs on the document; check the target anew."""
    while True:
        check_target(application, target)
        if target.document.tryBarrierLock():
            target.document.unlock()
            return
        yield RETRY_MS


def _exactly(data: Any, length: int) -> bytes:
    got = bytes(data)
    if len(got) != length:
        raise PictureError(
            f"Krita handed over {len(got)} bytes of pixels where {length} were due; "
            "nothing was changed, please try again."
        )
    return got
