"""Scores of variants: the model's own confidence, or the bundle's classifier."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maskgit_daemon.rank import best, confidence, score


def classifying(logits: list[float] | None) -> Any:
    """A model whose classifier says ``logits`` of every picture; None: it has no classifier."""
    row = None if logits is None else np.array([logits], np.float32)
    return SimpleNamespace(classify=lambda image: row)


PICTURE = np.zeros((16, 24, 3), np.float32)


def test_confidence_is_the_mean_over_the_tokens_made() -> None:
    log_probability = np.array([-1.0, -2.0, -3.0, 0.0], np.float32)
    made = np.array([[True, False], [True, False]])
    assert confidence(log_probability, made) == pytest.approx(-2.0)
    assert confidence(log_probability, np.zeros((2, 2), bool)) == 0.0


def test_a_classifier_decides_where_there_is_one_and_a_class_is_asked_for() -> None:
    model = classifying([0.0, np.log(3.0), 0.0])
    value, by = score(model, PICTURE, 1, -5.0)
    assert by == "class"
    assert value == pytest.approx(np.log(0.6))
    assert score(model, PICTURE, None, -5.0) == (-5.0, "confidence")
    assert score(classifying(None), PICTURE, 1, -5.0) == (-5.0, "confidence")


def test_the_classifier_is_shown_the_window_as_planes() -> None:
    shown = []
    model: Any = SimpleNamespace(classify=lambda image: shown.append(image.shape))
    score(model, PICTURE, 1, 0.0)
    assert shown == [(1, 3, 16, 24)]


def test_the_best_has_the_highest_score_and_the_first_wins_a_tie() -> None:
    assert best([-3.0, -1.0, -2.0]) == 1
    assert best([-1.0, -1.0]) == 0
