"""A logged serving score rides along: into the log, through the join, never into the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clicks import SPEC, clicks, letters, options, write

from beam_jobs.avro_schema import avro_schema
from beam_jobs.join_options import JoinOptions
from beam_jobs.replay import replay
from stream_prune.errors import ConfigError
from stream_prune.features import OFFSET, SERVED_SCORE, FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.minibatch.folder_log import FolderLog

SERVED = replace(SPEC, served_score="p")


def scores(log: Path, spec: FeatureSpec) -> dict[int, float | None]:
    """By offset, as a batch in memory has them."""
    folder, found = FolderLog.open(log), {}
    for _, commit in folder.commits(0):
        for ref in commit.batches:
            name = BatchName(commit.window_end, 0, ref.index)
            batch = folder.read(name, ref, spec)
            assert batch.served is not None
            offsets = folder.read_arrow(name, ref).column(OFFSET).to_pylist()
            found |= dict(zip(offsets, batch.served.tolist(), strict=True))
    return {offset: None if np.isnan(p) else round(p, 6) for offset, p in found.items()}


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_scores_are_in_the_log_and_one_that_is_no_probability_is_a_dead_letter(
    tmp_path: Path, form: str
) -> None:
    table = clicks(list(range(0, 200, 20)), p=[0.25, None, 1.0, 0.0, 1.5, -0.1, 0.5, 0.5, 0.5, 0.5])
    files = write(tmp_path / "in", table)
    if form == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
        (tmp_path / "in" / "a.jsonl").write_text(text)
        files = (str(tmp_path / "in" / "a.jsonl"),)
    done = replay(replace(options(files, tmp_path / "log", max_bad_share=1.0), spec=SERVED))
    assert (done.good, done.invalid) == (8, 2)
    found = scores(tmp_path / "log", SERVED)
    assert found == {0: 0.25, 1: None, 2: 1.0, 3: 0.0, 6: 0.5, 7: 0.5, 8: 0.5, 9: 0.5}
    told = {x["offset"]: x["reason"] for x in letters(tmp_path / "log")}
    assert told[4] == "column 'p': 1.5: a served score is a probability in [0, 1] or null"


def test_an_impression_keeps_its_score_through_the_join(tmp_path: Path) -> None:
    spec = replace(SERVED, event_key="request", label_delay_ms=1_000)
    shown = clicks(list(range(10_000, 10_600, 20))).append_column(
        "request", pa.array(map(str, range(30)))
    )
    shown = shown.append_column("p", pa.array([i / 100 for i in range(30)]))
    pressed = pa.table({"at": [10_045, 10_130], "request": ["2", "5"]})
    files = write(tmp_path / "in", shown)
    pq.write_table(pressed, tmp_path / "clicks.parquet")
    join = JoinOptions((str(tmp_path / "clicks.parquet"),), "at", "request", 200)
    replay(replace(options(files, tmp_path / "log"), spec=spec, join=join))
    assert scores(tmp_path / "log", spec) == {i: i / 100 for i in range(30)}


def test_no_model_sees_it_and_a_log_without_it_is_another_log(tmp_path: Path) -> None:
    assert "p" in SERVED.columns
    assert "p" not in SERVED.inputs
    assert SERVED.fingerprint != SPEC.fingerprint
    assert FeatureSpec.from_dict(SERVED.to_dict()) == SERVED
    assert {"name": "p", "type": ["null", "double"], "default": None} in avro_schema(SERVED)[
        "fields"
    ]
    with pytest.raises(ConfigError, match="column 'price' is named twice"):
        replace(SPEC, served_score="price")
    batch = MiniBatch.from_arrow(
        SERVED,
        BatchName(1, 0, 0),
        pa.record_batch(
            {
                "price": pa.array([1.0, 2.0], pa.float32()),
                "user": [1, 2],
                "item": [3, 4],
                "__event_time": [5, 6],
                "__label": pa.array([0.0, 1.0], pa.float32()),
                SERVED_SCORE: pa.array([None, 0.5], pa.float32()),
            }
        ),
    )
    assert batch.take(np.array([False, True])).served.tolist() == [0.5]
