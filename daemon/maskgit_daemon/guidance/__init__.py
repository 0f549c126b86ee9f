"""How painted strokes steer the decode loop: one file a method, chosen by name."""

from maskgit_daemon.guidance.base import Guide, View
from maskgit_daemon.guidance.painted import Painted
from maskgit_daemon.guidance.registry import (
    DEFAULT,
    METHODS,
    Method,
    check_guidance,
    find_method,
    make_guide,
    may_change,
)

__all__ = [
    "DEFAULT",
    "METHODS",
    "Guide",
    "Method",
    "Painted",
    "View",
    "check_guidance",
    "find_method",
    "make_guide",
    "may_change",
]
