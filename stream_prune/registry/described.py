"""What people read of a published model in MLflow's pages: sentences, tags, parameters, metrics."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from stream_prune.artifact import Scorer

if TYPE_CHECKING:
    from mlflow.entities import Metric

PREFIX = "published/"
"""Before the name of a metric at publishing, which is no point of the run's curves."""

NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as an upload's description."""


def model_sentence(name: str, alias: str) -> str:
    """The description of a registered model."""
    return (
        f"Kept small by stream_prune while it trains. `stream-prune serve models:/{name}@{alias}` "
        f"serves what the alias {alias!r} points to and follows it; every version is an MLflow "
        "model too."
    )


def version_sentence(scorer: Scorer) -> str:
    """The description of a version: how good, how large, from where."""
    card, lineage = scorer.card, scorer.card.lineage
    known = [
        f"{label} {card.metrics[key]:.4f}"
        for key, label in (("ne", "NE"), ("auc", "AUC"))
        if isinstance(card.metrics.get(key), float)
    ]
    learned = "" if lineage.window_end is None else f", learned until {_at(lineage.window_end)}"
    rows = sum(table.rows for table in card.tables)
    parts = [
        f"Run {lineage.run}, step {lineage.step}{learned}",
        *([f"prequential {', '.join(known)}"] if known else []),
        f"{scorer.manifest.size / 1e6:,.2f} MB, {rows:,} embedding rows as {card.numbers}",
    ]
    return "; ".join(parts) + "."


def lineage_tags(scorer: Scorer) -> dict[str, str]:
    """Where a version is from, as far as its artifact says it."""
    lineage = scorer.card.lineage
    found = {
        "checkpoint": lineage.checkpoint,
        "log": lineage.log,
        "learned_until": None if lineage.window_end is None else _at(lineage.window_end),
        "git": lineage.git,
    }
    return {f"stream_prune.{key}": value for key, value in found.items() if value is not None}


def version_tag(model: str, number: str) -> dict[str, str]:
    """The tag by which the upload's page in MLflow links to its version."""
    return {"mlflow.modelVersions": json.dumps([{"name": model, "version": number}])}


def parameters(scorer: Scorer) -> dict[str, str]:
    """What a version is, in a few numbers."""
    card = scorer.card
    return {
        "head": card.head.kind.rpartition(".")[2],
        "dim": str(card.dim),
        "embedding_rows": str(sum(table.rows for table in card.tables)),
        "rows_stored_as": card.numbers,
        "artifact_bytes": str(scorer.manifest.size),
    }


def metrics(scorer: Scorer, model_id: str) -> list[Metric]:
    """The figures that the artifact carries, for the upload ``model_id``."""
    from mlflow.entities import Metric

    lineage = scorer.card.lineage
    at = int(1_000 * time.time()) if lineage.window_end is None else lineage.window_end
    return [
        Metric(PREFIX + key, float(value), at, lineage.step, model_id=model_id)
        for key, value in scorer.card.metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _at(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1_000, UTC).strftime("%Y-%m-%d %H:%M UTC")
