"""Artifacts for tests of the registry: one model under many names, and a log that it can score."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from small_model import SPEC, SmallModel, raw_rows

from stream_prune.artifact import ModelCard
from stream_prune.artifact.format import MANIFEST, MODEL, Manifest
from stream_prune.encoding import encode
from stream_prune.features import EVENT_TIME, LABEL, OFFSET, PARTITION
from stream_prune.minibatch.batch import schema
from stream_prune.minibatch.commit import Commit
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.header import LogHeader

HOUR = 3_600_000


def renamed(
    artifact: Path, folder: Path, *, metrics: Mapping[str, Any] | None = None, **lineage: Any
) -> Path:
    """The same model as another run or step, with other figures."""
    shutil.copytree(artifact, folder)
    card = ModelCard.read(folder)
    card = replace(
        card,
        lineage=replace(card.lineage, **lineage),
        metrics=card.metrics if metrics is None else metrics,
    )
    (folder / MODEL).write_text(card.to_json())
    described = Manifest.of_folder(folder, "ctr", "2024-01-01T00:00:00+00:00")
    (folder / MANIFEST).write_text(described.to_json())
    return folder


def recent(ends: Sequence[int], logloss: float, labelled: int = 100) -> dict[str, Any]:
    """Metrics of a run that scored windows with a third of positives at this logloss."""
    count = len(ends)
    return {
        "recent": {
            "end": list(ends),
            "labelled": [labelled] * count,
            "positives": [labelled // 3] * count,
            "loss": [logloss * labelled] * count,
        }
    }


def click_log(folder: Path, model: SmallModel, windows: int, rows: int = 100) -> FolderLog:
    """Hourly windows whose labels are drawn from what ``model`` thinks of the rows."""
    log = FolderLog.create(folder, LogHeader(SPEC.fingerprint, SPEC.to_dict(), HOUR))
    writer, rng = log.writer(0), np.random.default_rng(0)
    for window in range(1, windows + 1):
        raw = raw_rows(rows, seed=window).combine_chunks()
        encoded = encode(SPEC, raw.to_batches()[0], labels=False).batch
        columns = {name: encoded.column(name) for name in encoded.schema.names}
        columns |= {
            EVENT_TIME: pa.array(np.full(rows, window * HOUR - 1)),
            LABEL: pa.array((rng.random(rows) < model.score(raw)).astype(np.float32)),
            PARTITION: pa.array(np.zeros(rows, np.int32)),
            OFFSET: pa.array(np.arange(rows)),
        }
        wanted = schema(SPEC)
        batch = pa.RecordBatch.from_arrays([columns[n] for n in wanted.names], schema=wanted)
        ref = writer.write_batch(window * HOUR, 0, batch)
        commit = Commit(
            window * HOUR, 0, writer.epoch, SPEC.fingerprint, (ref,), end=window == windows
        )
        writer.commit([commit])
    return log
