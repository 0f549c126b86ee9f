"""What each type of message holds: its fields and its buffers."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, Mapping, NamedTuple, Tuple

MAX_TEXT = 8192


class Field(NamedTuple):
    """What a field may hold: a test and, for the sentence, what passes it."""

    accepts: Callable[[Any], bool]
    wants: str
    required: bool = False


class Kind(NamedTuple):
    """A message type: its fields, and its buffers as (name, dtypes, rank), repeated or once."""

    fields: Mapping[str, Field]
    buffers: Tuple[Tuple[str, Tuple[str, ...], int], ...] = ()
    repeated: bool = False
    closed: bool = True


def is_int(value: Any) -> bool:
    """Whether ``value`` is a whole number of at most 64 bits, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return is_int(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_numbers(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= 64
        and all(_is_text(k) and _is_number(v) for k, v in value.items())
    )


def _is_ints(count: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(is_int, value))


def _or_null(field: Field) -> Field:
    return Field(lambda v: v is None or field.accepts(v), f"{field.wants} or null", field.required)


def _needed(field: Field) -> Field:
    return field._replace(required=True)


INT = Field(is_int, "a whole number")
NUMBER = Field(_is_number, "a finite number")
TEXT = Field(_is_text, f"a text of at most {MAX_TEXT} characters")
FLAG = Field(lambda v: isinstance(v, bool), "true or false")
NUMBERS = Field(_is_numbers, "an object of at most 64 finite numbers")
OBJECT = Field(lambda v: isinstance(v, dict), "an object")
LIST = Field(lambda v: isinstance(v, list), "a list")
PATCH = (("pixels", ("uint8", "float32"), 3), ("tokens", ("int64",), 2))

REFINE_FIELDS = {
    "bundle": TEXT,
    "strength": NUMBER,
    "guidance": TEXT,
    "options": NUMBERS,
    "label": _or_null(TEXT),
    "prompt": _or_null(TEXT),
    "negative_prompt": _or_null(TEXT),
    "guidance_scale": _or_null(NUMBER),
    "steps": INT,
    "more": INT,
    "schedule": TEXT,
    "order": TEXT,
    "temperature": NUMBER,
    "choice_temperature": NUMBER,
    "seed": INT,
    "variants": INT,
    "feather": NUMBER,
    "preview": FLAG,
}

REQUESTS: Dict[str, Kind] = {
    "hello": Kind({}),
    "plan": Kind(
        {
            "bundle": _needed(TEXT),
            "bounds": Field(_is_ints(4), "four whole numbers: left, top, width, height", True),
            "canvas": Field(_is_ints(2), "two whole numbers: width, height", True),
            "strength": _needed(NUMBER),
            "guidance": TEXT,
            "options": NUMBERS,
        }
    ),
    "models": Kind({}),
    "load": Kind({"bundle": _needed(TEXT)}),
    "unload": Kind({"bundle": _needed(TEXT)}),
    "refine": Kind(
        REFINE_FIELDS,
        (("pixels", ("uint8", "float32"), 3), ("selection", ("uint8",), 2)),
    ),
    "cancel": Kind({"job": _needed(INT)}),
    "status": Kind({}),
    "shutdown": Kind({}),
}

REPLIES: Dict[str, Kind] = {
    "hello": Kind({"version": _needed(TEXT), "pid": _needed(INT)}, closed=False),
    "plan": Kind({"plan": _needed(OBJECT)}, closed=False),
    "models": Kind({"models": _needed(LIST)}, closed=False),
    "load": Kind({"bundle": _needed(TEXT)}, closed=False),
    "unload": Kind({"bundle": _needed(TEXT)}, closed=False),
    "accepted": Kind({}, closed=False),
    "step": Kind(
        {"step": _needed(INT), "steps": _needed(INT), "patches": _needed(LIST)},
        PATCH,
        repeated=True,
        closed=False,
    ),
    "result": Kind(
        {"patches": _needed(LIST), "info": _needed(OBJECT)}, PATCH, repeated=True, closed=False
    ),
    "cancelled": Kind({}, closed=False),
    "error": Kind({"kind": _needed(TEXT), "message": _needed(TEXT)}, closed=False),
    "cancel": Kind({"found": _needed(FLAG)}, closed=False),
    "status": Kind({"status": _needed(OBJECT)}, closed=False),
    "shutdown": Kind({}, closed=False),
    "alive": Kind({}, closed=False),
}
