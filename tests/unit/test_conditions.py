"""Which class or prompt a job is conditioned on, and what is said where a model takes none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.bundles import small_bundle

from maskgit_daemon.bundle import Bundle, Condition, load_bundle
from maskgit_daemon.conditions import condition_rows, find_label, mix
from maskgit_daemon.errors import RequestError
from maskgit_daemon.request import RefineRequest
from maskgit_daemon.runtime import Conditioning, Model

LABELS = ("rock", "water, sea", "foliage", "7")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "mine"
    small_bundle(folder)
    return load_bundle(folder)


def model_of(bundle: Bundle, **condition: Any) -> Model:
    fields: dict[str, Any] = {"kind": "class", "labels": LABELS, "null_label": 4} | condition
    return Model(dataclasses.replace(bundle, condition=Condition(**fields)), "cpu", "fp32", {})


def rows(model: Model, **fields: Any) -> list[int | None]:
    pixels, selection = np.zeros((2, 2, 4), np.uint8), np.ones((2, 2), np.uint8)
    made = condition_rows(model, RefineRequest(pixels, selection, **fields))
    assert all(isinstance(row, Conditioning) for row in made)
    return [row.label for row in made]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("rock", 0), (" Rock ", 0), ("sea", 1), ("WATER", 1), ("2", 2), ("7", 3), ("0", 0)],
)
def test_a_class_is_found_by_name_synonym_or_number(
    bundle: Bundle, wanted: str, index: int
) -> None:
    assert find_label(model_of(bundle).bundle, wanted) == index


def test_a_name_comes_before_a_number(bundle: Bundle) -> None:
    model = model_of(bundle, labels=("a", "b", "0"), null_label=None)
    assert find_label(model.bundle, "0") == 2


def test_an_unknown_class_is_answered_with_the_closest(bundle: Bundle) -> None:
    with pytest.raises(RequestError, match=r"knows no class 'foliag'; try foliage"):
        find_label(model_of(bundle).bundle, "foliag")


@given(wanted=st.text())
def test_any_text_is_a_class_or_a_sentence(bundle: Bundle, wanted: str) -> None:
    model = model_of(bundle)
    try:
        index = find_label(model.bundle, wanted)
    except RequestError:
        index = 0
    assert index in range(len(LABELS))


def test_without_a_class_the_null_label_stands(bundle: Bundle) -> None:
    assert rows(model_of(bundle)) == [4]
    assert rows(model_of(bundle), guidance_scale=3.0) == [4]


def test_guidance_takes_a_second_row(bundle: Bundle) -> None:
    assert rows(model_of(bundle), label="rock") == [0]
    assert rows(model_of(bundle), label="rock", guidance_scale=0.0) == [0]
    assert rows(model_of(bundle), label="rock", guidance_scale=3.0) == [0, 4]


@pytest.mark.parametrize(
    ("condition", "fields", "says"),
    [
        ({"null_label": None}, {}, "cannot work without a class; give one, for example 'rock'"),
        ({"required": True}, {}, "cannot work without a class"),
        ({"null_label": None}, {"label": "rock", "guidance_scale": 2.0}, "has no null class"),
        ({}, {"prompt": "a cat"}, "takes no prompt"),
        ({"kind": "none", "labels": ()}, {"label": "rock"}, "takes no class"),
        ({"kind": "none", "labels": ()}, {"prompt": "a cat"}, "takes no prompt"),
    ],
)
def test_what_a_model_cannot_take_is_told(
    bundle: Bundle, condition: dict[str, Any], fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        rows(model_of(bundle, **condition), **fields)


def test_a_model_without_condition_takes_none(bundle: Bundle) -> None:
    assert rows(model_of(bundle, kind="none", labels=())) == [None]


def test_guidance_grows_from_step_to_step() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    assert np.array_equal(mix(logits[:1], 9.0, 0, 8), logits[0])
    assert np.array_equal(mix(logits, 0.0, 3, 8), logits[0])
    last = mix(logits, 2.0, 7, 8)
    assert last == pytest.approx(3 * logits[0] - 2 * logits[1], abs=1e-6)
    weights = [
        float(((mix(logits, 2.0, step, 8) - logits[0]) / (logits[0] - logits[1])).mean())
        for step in range(8)
    ]
    assert weights == pytest.approx([0.25 * (step + 1) for step in range(8)], rel=1e-3)
