"""A small model of every kind of feature, trained a little on random rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from stream_prune.artifact import Lineage
from stream_prune.artifact.write import write
from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.encoding import encode
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.models.dlrm import DLRMHead, DLRMHeadConfig

SPEC = FeatureSpec(
    dense=(
        Dense("distance", transform="log1p", missing=0.0),
        Dense("hour", transform="clip", low=0.0, high=24.0),
        Dense("wind"),
    ),
    categorical=(
        Categorical("carrier"),
        Categorical("tail", type="integer"),
        Categorical("tags", multi=True),
    ),
    label="late",
    event_time="at",
    label_delay_ms=86_400_000,
)
SINGLE = FeatureSpec(
    dense=(), categorical=SPEC.categorical[:2], label="late", event_time="at"
)  # no dense column, no bags


def raw_rows(rows: int, seed: int = 0) -> pa.Table:
    """Random raw rows of :data:`SPEC`'s inputs, with nulls where they are allowed."""
    rng = np.random.default_rng(seed)

    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.1 else value

    bags = [[f"t{t}" for t in rng.integers(0, 30, rng.integers(0, 4))] for _ in range(rows)]
    return pa.table(
        {
            "distance": pa.array([maybe(float(x)) for x in rng.gamma(2, 500, rows)]),
            "hour": pa.array(rng.integers(-2, 27, rows)),
            "wind": pa.array(rng.normal(0, 10, rows)),
            "carrier": pa.array([maybe(f"c{c}") for c in rng.integers(0, 12, rows)]),
            "tail": pa.array([maybe(int(t)) for t in rng.zipf(1.3, rows) % 5000], pa.int64()),
            "tags": pa.array([maybe(bag) for bag in bags], pa.list_(pa.string())),
        }
    )


@dataclass
class SmallModel:
    """Tables and head as the trainer holds them."""

    spec: FeatureSpec
    tables: EmbeddingTables
    head: DLRMHead
    optimizer: torch.optim.Optimizer

    @classmethod
    def build(cls, spec: FeatureSpec = SPEC, seed: int = 0) -> SmallModel:
        torch.manual_seed(seed)
        configs = [TableConfig(column.name, capacity=40) for column in spec.categorical]
        tables = EmbeddingTables(configs, dim=8, lr=0.1, init_std=0.1, seed=seed)
        head = DLRMHead(
            DLRMHeadConfig(len(spec.dense), len(configs), dim=8, bottom=(16,), top=(32, 16))
        )
        return cls(spec, tables, head, torch.optim.Adam(head.parameters(), lr=1e-2))

    def arrays(self, raw: pa.Table) -> tuple[torch.Tensor, np.ndarray[Any, Any], Any]:
        """Dense features, ids (feature-major) and bag offsets of raw rows, by the log's encoder."""
        batch = encode(self.spec, raw.combine_chunks().to_batches()[0], labels=False).batch
        columns = [batch.column(column.name).to_numpy() for column in self.spec.dense]
        dense = np.stack(columns, 1) if columns else np.zeros((len(raw), 0), np.float32)
        bags = [
            batch.column(c.name).to_pylist()
            if c.multi
            else [[i] for i in batch.column(c.name).to_pylist()]
            for c in self.spec.categorical
        ]
        ids = np.array([i for column in bags for bag in column for i in bag], np.int64)
        lengths = [len(bag) for column in bags for bag in column]
        multi = any(column.multi for column in self.spec.categorical)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64) if multi else None
        return torch.from_numpy(dense), ids, offsets

    def learn(self, raw: pa.Table, seed: int = 0) -> torch.Tensor:
        """One step on random labels, as the trainer makes it; returns the loss."""
        labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, len(raw))).float()
        dense, ids, offsets = self.arrays(raw)
        self.tables.admit(ids, offsets)
        self.head.train()
        logits = self.head(dense, self.tables(ids, offsets))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.tables.step()
        return loss.detach()

    def score(self, raw: pa.Table) -> np.ndarray[Any, Any]:
        """Probabilities by torch, as the trainer gives them before it learns."""
        self.head.eval()
        with torch.no_grad():
            dense, ids, offsets = self.arrays(raw)
            scores = torch.sigmoid(self.head(dense, self.tables(ids, offsets)))
        return scores.numpy()

    def write(self, folder: Path, *, run: str = "run", step: int = 5, **more: Any) -> Path:
        options: dict[str, Any] = {
            "name": "ctr",
            "plan": None,
            "example": raw_rows(32, seed=99),
            "metrics": {"ne": 0.9, "auc": float("nan"), "window_end": 3_600_000},
            "lineage": Lineage(
                run, step, checkpoint="checkpoints/0000000005", window_end=3_600_000
            ),
        }
        return write(folder, head=self.head, tables=self.tables, spec=self.spec, **(options | more))


def trained(seed: int = 0, steps: int = 8, spec: FeatureSpec = SPEC) -> SmallModel:
    """A model after some learning, so that ids own rows and no weight is as it began."""
    model = SmallModel.build(spec, seed)
    for step in range(steps):
        model.learn(raw_rows(256, seed=1000 * seed + step), seed=step)
    return model
