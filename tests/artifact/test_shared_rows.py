"""Tables with several cold rows, and bags that are summed: served as they were trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from small_model import SPEC, SmallModel, raw_rows

from stream_prune.artifact import Scorer
from stream_prune.embedding import EmbeddingTables, TableConfig


def test_capped_bags_are_served_as_they_were_trained(tmp_path: Path) -> None:
    model = SmallModel.build()
    tables = [TableConfig(c.name, 20, admission=1, most_values=1) for c in SPEC.categorical]
    model = replace(model, tables=EmbeddingTables(tables, dim=8, lr=0.1, init_std=0.5, seed=1))
    for step in range(6):
        model.learn(raw_rows(128, seed=step), seed=step)
    scorer = Scorer.load(model.write(tmp_path / "artifact"))
    unseen = raw_rows(200, seed=77)
    assert max(len(bag) for bag in unseen["tags"].to_pylist() if bag) > 1
    np.testing.assert_allclose(scorer.score(unseen), model.score(unseen), rtol=1e-4, atol=1e-5)


def test_hashed_cold_rows_and_summed_bags_are_served_as_they_were_trained(tmp_path: Path) -> None:
    model = SmallModel.build()
    shared = [
        TableConfig(column.name, 20, cold_share=share, combine="sum", admission=1)
        for column, share in zip(SPEC.categorical, (1.0, 0.5, 0.25), strict=True)
    ]
    model = replace(model, tables=EmbeddingTables(shared, dim=8, lr=0.1, init_std=0.5, seed=1))
    for step in range(6):
        model.learn(raw_rows(128, seed=step), seed=step)
    scorer = Scorer.load(model.write(tmp_path / "artifact"))
    assert [table.cold for table in scorer.card.tables] == [21, 11, 6]
    unseen = raw_rows(200, seed=77)
    np.testing.assert_allclose(scorer.score(unseen), model.score(unseen), rtol=1e-4, atol=1e-5)
