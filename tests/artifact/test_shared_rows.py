"""Tables with several cold rows, summed bags or narrow rows: served as they were trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from small_model import SPEC, SmallModel, raw_rows

from stream_prune.artifact import ModelCard, Scorer
from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.delta import apply_delta, write_delta
from stream_prune.artifact.format import TABLES
from stream_prune.artifact.tables import ArtifactTables
from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.widths import TablesOfWidths
from stream_prune.errors import RunError


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


def narrow_model(dims: dict[str, int]) -> SmallModel:
    model = SmallModel.build()
    configs = [TableConfig(c.name, 20, cold_share=0.25, admission=1) for c in SPEC.categorical]
    tables = TablesOfWidths(configs, 8, dims, lr=0.1, init_std=0.5, seed=1)
    trained = [*model.head.parameters(), *tables.parameters()]
    model = replace(model, tables=tables, optimizer=torch.optim.Adam(trained, lr=1e-2))
    for step in range(6):
        model.learn(raw_rows(128, seed=step), seed=step)
    return model


@pytest.mark.parametrize("numbers", ["float32", "float16", "int8"])
@pytest.mark.parametrize(
    "dims", [{"tail": 4}, {"tags": 2, "carrier": 6}, {"carrier": 4, "tail": 4, "tags": 1}]
)
def test_narrow_rows_are_stored_narrow_and_served_as_they_were_trained(
    tmp_path: Path, dims: dict[str, int], numbers: str
) -> None:
    model = narrow_model(dims)
    config = ArtifactConfig(rows=numbers, logit_tolerance=1.0)
    scorer = Scorer.load(model.write(tmp_path / "artifact", config=config))
    unseen = raw_rows(200, seed=77)
    near = 1e-5 if numbers == "float32" else 2e-2
    np.testing.assert_allclose(scorer.score(unseen), model.score(unseen), atol=near)
    one = unseen.slice(3, 1)
    np.testing.assert_allclose(scorer.score(one), model.score(one), atol=near)
    stored = load_file(tmp_path / "artifact" / TABLES)
    for table in scorer.card.tables:
        assert table.dim == dims.get(table.name)
        width = dims.get(table.name, 8) + (4 if numbers == "int8" else 0)
        assert stored[table.name].shape == (table.rows + table.cold, width)


def test_a_delta_of_narrow_rows_gives_the_artifact_again(tmp_path: Path) -> None:
    model = narrow_model({"tail": 4})
    old = model.write(tmp_path / "old")
    model.learn(raw_rows(128, seed=50), seed=50)
    new = model.write(tmp_path / "new")
    write_delta(new, old, tmp_path / "delta")
    apply_delta(tmp_path / "delta", old, tmp_path / "again")
    unseen = raw_rows(50, seed=77)
    np.testing.assert_array_equal(
        Scorer.load(tmp_path / "again").score(unseen), Scorer.load(new).score(unseen)
    )


def test_an_artifact_without_its_projection_is_refused_by_name(tmp_path: Path) -> None:
    folder = narrow_model({"tail": 4}).write(tmp_path / "artifact")
    head = folder / "head.safetensors"
    tensors = load_file(head)
    del tensors["tables|tail|projection"]
    save_file(tensors, head)
    with pytest.raises(RunError, match=r"table 'tail': there is no projection from 4 to 8"):
        ArtifactTables.read(folder, ModelCard.read(folder))
