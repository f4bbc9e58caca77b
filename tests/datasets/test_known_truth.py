from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_prune.datasets import capacity_bound, synthetic
from stream_prune.datasets.known_truth import BAYES, BLOCK, START_MS, bayes_ne, chunks, drifts_path
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError

STREAMS = [synthetic, capacity_bound]
EVENTS = 20_000


@pytest.fixture(params=STREAMS, ids=lambda stream: stream.__name__.rpartition(".")[2])
def stream(request):
    return request.param


def _table(stream, rows: int = EVENTS, **settings) -> pa.Table:
    block = partial(stream.block, stream.Settings(**({"events": EVENTS} | settings)))
    return pa.concat_tables(list(chunks(block, rows, BLOCK))).combine_chunks()


def test_every_event_passes_validation_in_time_order(stream) -> None:
    table = _table(stream)
    assert encode(stream.SPEC, table.to_batches()[0]).reasons == []
    times = table[stream.SPEC.event_time].cast(pa.int64()).to_numpy()
    assert times[0] == START_MS
    assert (np.diff(times) == 1_000).all()


def test_the_truth_is_no_feature(stream) -> None:
    names = _table(stream, 10).column_names
    assert set(names) - set(stream.SPEC.columns) == {BAYES}


def test_a_seed_gives_its_own_stream_and_always_the_same(stream) -> None:
    assert _table(stream, seed=3).equals(_table(stream, seed=3))
    assert not _table(stream, seed=3).equals(_table(stream, seed=4))


@settings(max_examples=10)
@given(
    stream=st.sampled_from(STREAMS),
    rows=st.integers(1, 40_000),
    chunk_rows=st.integers(500, 60_000),
    events=st.integers(5_000, 60_000),
)
def test_no_event_depends_on_chunks_or_on_how_many_are_wanted(
    stream, rows: int, chunk_rows: int, events: int
) -> None:
    block = partial(stream.block, stream.Settings(events=events))
    parts = list(chunks(block, rows, chunk_rows))
    assert [part.num_rows for part in parts[:-1]] == [chunk_rows] * (len(parts) - 1)
    whole = pa.concat_tables([block(i) for i in range(-(-rows // BLOCK))])
    assert pa.concat_tables(parts).equals(whole.slice(0, rows))


def test_a_chunk_has_at_least_one_event() -> None:
    with pytest.raises(ConfigError, match="chunk_rows = 0: must be 1 or more"):
        next(chunks(lambda number: pa.table({"x": [number]}), 1, 0))


def test_labels_follow_the_bayes_probability(stream) -> None:
    table = _table(stream, 60_000)
    p, label = table[BAYES].to_numpy().astype(float), table[stream.SPEC.label].to_numpy()
    for group in np.array_split(np.argsort(p), 20):
        spread = np.sqrt((p[group] * (1 - p[group])).sum())
        assert abs(label[group].sum() - p[group].sum()) < 4 * spread


def test_no_probability_is_better_on_average_than_the_bayes_probability(stream) -> None:
    table = _table(stream, 60_000)
    p, label = table[BAYES].to_numpy().astype(float), table[stream.SPEC.label].to_numpy()

    def ne(q: np.ndarray) -> float:
        rate = label.mean()
        loss = -np.where(label == 1, np.log(q), np.log(1 - q)).mean()
        return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate)))

    assert ne(p) == pytest.approx(bayes_ne(p), abs=0.01)
    log_odds = np.log(p / (1 - p))
    for change in (0.8 * log_odds, 1.25 * log_odds, log_odds + 0.2, log_odds - 0.2):
        assert ne(1 / (1 + np.exp(-change))) > ne(p)


def test_the_bayes_ne_of_known_and_of_unknowable_labels() -> None:
    assert bayes_ne([0.0, 1.0, 1.0]) == 0
    assert bayes_ne([0.3, 0.3]) == pytest.approx(1)


def test_preparing_writes_events_and_drift_times_once(stream, tmp_path: Path) -> None:
    settings = stream.Settings(events=30_000)
    (path,) = stream.prepare(tmp_path, settings=settings)
    assert (
        pq.read_table(path).replace_schema_metadata().equals(_table(stream, 30_000, events=30_000))
    )
    truth = json.loads(drifts_path(path).read_text())
    assert truth["settings"] == dataclasses.asdict(settings)
    assert truth["rows"] == 30_000
    for drift in truth["drifts"]:
        for at in ("start", "end"):
            assert drift[f"{at}_time"] == START_MS + 1_000 * drift[at]
    stamps = [p.stat().st_mtime_ns for p in (path, drifts_path(path))]
    stream.prepare(tmp_path, settings=settings)
    assert [p.stat().st_mtime_ns for p in (path, drifts_path(path))] == stamps
    drifts_path(path).unlink()
    stream.prepare(tmp_path, settings=settings)
    assert json.loads(drifts_path(path).read_text()) == truth


def test_other_settings_replace_the_files(stream, tmp_path: Path) -> None:
    (path,) = stream.prepare(tmp_path, 500, stream.Settings(seed=1))
    first = pq.read_table(path)
    assert stream.prepare(tmp_path, 500, stream.Settings(seed=2)) == [path]
    assert not pq.read_table(path).equals(first)
    assert json.loads(drifts_path(path).read_text())["settings"]["seed"] == 2
