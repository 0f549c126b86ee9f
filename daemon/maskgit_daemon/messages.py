"""Between the messages of the protocol and the values of the engine."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskgit_daemon.errors import BundleError, MaskgitError
from maskgit_daemon.events import Patch
from maskgit_daemon.patch import WindowPlan
from maskgit_daemon.request import RefineRequest
from maskgit_refine.wire import Buffer, Message

LOG = logging.getLogger(__name__)

UNEXPECTED = "The daemon met an unexpected error; its log file says more."


def request_of(message: Message) -> RefineRequest:
    """The request in a ``refine`` message; its arrays are views of the message's buffers.

    Raises :class:`RequestError` if a value is out of range.
    """
    pixels, selection = (_array(buffer) for buffer in message.buffers)
    return RefineRequest(pixels=pixels, selection=selection, **message.fields)


def plan_fields(plan: WindowPlan, may_change: int) -> dict[str, Any]:
    """The fields of a ``plan`` answer; ``may_change`` tokens of the footprint may change."""
    return {
        "plan": {
            "window": list(plan.window),
            "scale": plan.scale,
            "grid": list(plan.grid),
            "footprint": plan.footprint,
            "may_change": may_change,
        }
    }


def patch_fields(patches: tuple[Patch, ...]) -> tuple[list[dict[str, Any]], tuple[Buffer, ...]]:
    """The field ``patches`` of a ``step`` or ``result`` and the buffers that go with it."""
    told, buffers = [], []
    for patch in patches:
        told.append({"left": patch.left, "top": patch.top, "info": patch.info})
        for name, array in (("pixels", patch.pixels), ("tokens", patch.tokens)):
            data = np.ascontiguousarray(array)
            flat = data.reshape(-1).view(np.uint8)
            buffers.append(Buffer(name, data.dtype.name, data.shape, flat))
    return told, tuple(buffers)


def refusal_of(error: Exception) -> tuple[str, str]:
    """Kind and sentence of what went wrong; the unexpected goes to the log."""
    if isinstance(error, BundleError):
        return "bundle", str(error)
    if isinstance(error, MaskgitError):
        return "request", str(error)
    if isinstance(error, MemoryError):
        return "request", "There is not enough memory for this; select a smaller part."
    LOG.error("A message could not be served", exc_info=error)
    return "internal", UNEXPECTED


def _array(buffer: Buffer) -> NDArray[Any]:
    array = np.frombuffer(buffer.data, buffer.dtype).reshape(buffer.shape)
    return np.require(array, requirements=["ALIGNED"])
