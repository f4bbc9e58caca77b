"""Figures per slice are those of the slice's rows alone."""

import numpy as np
import pytest

from stream_prune.evaluation.prequential import Prequential
from stream_prune.evaluation.slice_figures import MOST, OTHER, SliceFigures


def rows(seed: int, count: int, categories: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = rng.integers(categories, size=count)
    scores = rng.uniform(0.05, 0.95, count).astype(np.float32)
    labels = (rng.random(count) < scores).astype(np.float32)
    labels[rng.random(count) < 0.1] = np.nan
    return ids, labels, scores


def test_a_slice_has_the_figures_of_an_evaluation_of_its_rows_alone() -> None:
    figures, alone = SliceFigures({"country": {0: "de", 1: "fr"}}), Prequential()
    for seed in range(5):
        ids, labels, scores = rows(seed, 400, 4)
        figures.add("country", ids, labels, scores)
        alone.add(labels[ids == 1], scores[ids == 1])
    found, wanted = figures.figures()["country"], alone.summary()
    assert set(found) == {"de", "fr", OTHER}
    for name in ("labelled", "positives", "logloss", "ne", "rce", "calibration"):
        assert found["fr"][name] == pytest.approx(wanted[name])
    assert found["fr"]["auc"] == pytest.approx(wanted["auc"], abs=2e-3)
    assert found["fr"]["ece"] == pytest.approx(wanted["ece"], abs=5e-3)


def test_without_named_categories_the_first_ones_are_told_apart_and_none_is_lost() -> None:
    figures = SliceFigures({"item": {}})
    for seed in range(3):
        figures.add("item", *rows(seed, 500, 3 * MOST))
    found = figures.figures()["item"]
    assert len(found) == MOST + 1
    labelled = sum(int((~np.isnan(rows(seed, 500, 3 * MOST)[1])).sum()) for seed in range(3))
    assert sum(each["labelled"] for each in found.values()) == labelled
    assert found[OTHER]["labelled"] > labelled / 2


def test_restored_figures_go_on_alike() -> None:
    first, second = SliceFigures({"item": {}}), SliceFigures({"item": {}})
    first.add("item", *rows(1, 300, 50))
    second.load_state_dict(first.state_dict())
    for figures in (first, second):
        figures.add("item", *rows(2, 300, 60))
    assert first.figures() == second.figures()
