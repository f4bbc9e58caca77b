"""Impressions in some files, their clicks in others: replayed, killed, gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from clicks import batch_files, letters, windows

from beam_jobs.join_options import JoinOptions
from beam_jobs.options import ReplayOptions
from beam_jobs.replay import replay
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "click",
        "event_key": "impression",
        "label_delay": "1s",
        "dense": ["price"],
        "categorical": ["item", {"name": "tags", "multi": True}],
    }
)
ATTRIBUTION = 250
START = 1_000_000


def a_log(seed: int = 0, rows: int = 500) -> tuple[pa.Table, pa.Table]:
    """Impressions in order of time, and clicks on a third of them, some late or twice or alone."""
    random = np.random.default_rng(seed)
    times = START + np.cumsum(random.integers(0, 20, rows))
    shown = pa.table(
        {
            "time": times,
            "impression": [f"i{n}" for n in range(rows)],
            "price": random.normal(size=rows),
            "item": random.integers(0, 9, rows),
            "tags": [[f"t{t}" for t in range(n % 3)] for n in range(rows)],
        }
    )
    which = random.integers(0, rows + 20, rows // 2)
    delay = random.integers(0, 2 * ATTRIBUTION, rows // 2)
    at = times[np.minimum(which, rows - 1)] + delay
    order = np.argsort(at, kind="stable")
    clicks = {"clicked_at": at[order], "of": [f"i{n}" for n in which[order]]}
    return shown, pa.table(clicks)


def labels_by_the_event(shown: pa.Table, clicks: pa.Table) -> dict[str, int]:
    shown_at = dict(zip(shown["impression"].to_pylist(), shown["time"].to_pylist(), strict=True))
    labels = dict.fromkeys(shown_at, 0)
    for at, key in zip(clicks["clicked_at"].to_pylist(), clicks["of"].to_pylist(), strict=True):
        if key in shown_at and 0 <= at - shown_at[key] < ATTRIBUTION:
            labels[key] = 1
    return labels


def write(folder: Path, shown: pa.Table, clicks: pa.Table, form: str = "parquet") -> None:
    folder.mkdir()
    half = shown.num_rows // 2
    parts = {"shown-0": shown[:half], "shown-1": shown[half:], "clicks": clicks}
    for name, table in parts.items():
        if form == "parquet":
            pq.write_table(table, folder / f"{name}.parquet", row_group_size=64)
        else:
            pacsv.write_csv(
                table.drop_columns([c for c in ("tags",) if c in table.column_names]),
                folder / f"{name}.csv",
            )


def options(folder: Path, log: Path, **changes) -> ReplayOptions:
    values = {
        "files": (f"{folder}/shown-*",),
        "spec": SPEC,
        "log": log,
        "window_ms": 100,
        "batch_rows": 16,
        "chunk_rows": 32,
        "epoch_rows": 300,
        "max_jump_ms": 10_000_000,
        "join": JoinOptions((f"{folder}/clicks*",), "clicked_at", "of", ATTRIBUTION),
    }
    return ReplayOptions(**(values | changes))


class Stop(Exception):
    pass


def stop_after(epochs: int):
    left = epochs

    def progress(_):
        nonlocal left
        left -= 1
        if left == 0:
            raise Stop

    return progress


def test_every_impression_has_the_label_that_its_clicks_give(tmp_path):
    shown, clicks = a_log()
    write(tmp_path / "events", shown, clicks)
    done = replay(options(tmp_path / "events", tmp_path / "log"))
    labels = labels_by_the_event(shown, clicks)
    assert done.good == shown.num_rows
    assert done.clicks == sum(labels.values())
    assert done.rows == shown.num_rows + clicks.num_rows
    assert min(done.unmatched, done.late, done.duplicates) > 0
    log, found = FolderLog.open(tmp_path / "log"), {}
    for _, commit in log.commits(0):
        for ref in commit.batches:
            batch = log.read_arrow(BatchName(commit.window_end, 0, ref.index), ref)
            for row in batch.to_pylist():
                number = row["__offset"] + row["__partition"] * (shown.num_rows // 2)
                found[number] = row["__label"]
    assert found == {n: float(labels[f"i{n}"]) for n in range(shown.num_rows)}
    told = letters(tmp_path / "log")
    assert len(told) == done.unmatched + done.late + done.duplicates
    assert all(letter["record"].keys() == {"clicked_at", "of"} for letter in told)
    assert list((tmp_path / "log" / "state").iterdir()) == []


def test_a_replay_stopped_anywhere_ends_with_the_same_log(tmp_path):
    write(tmp_path / "events", *a_log(1))
    whole = replay(options(tmp_path / "events", tmp_path / "whole"))
    for epochs in (3, 1, 2):
        try:
            replay(options(tmp_path / "events", tmp_path / "log"), stop_after(epochs))
        except Stop:
            continue
        break
    assert replay(options(tmp_path / "events", tmp_path / "log")) == whole
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    assert batch_files(tmp_path / "log") == batch_files(tmp_path / "whole")
    assert letters(tmp_path / "log") == letters(tmp_path / "whole")
    assert list((tmp_path / "log" / "state").iterdir()) == []


def test_the_same_from_text_files(tmp_path):
    shown, clicks = a_log(rows=200)
    write(tmp_path / "events", shown, clicks, "csv")
    spec = FeatureSpec.from_dict(SPEC.to_dict() | {"categorical": ["item"]})
    done = replay(options(tmp_path / "events", tmp_path / "log", spec=spec))
    assert done.clicks == sum(labels_by_the_event(shown, clicks).values())
    assert done.good == shown.num_rows


def test_a_log_of_another_join_is_refused(tmp_path):
    write(tmp_path / "events", *a_log())
    with pytest.raises(Stop):
        replay(options(tmp_path / "events", tmp_path / "log"), stop_after(1))
    other = JoinOptions((f"{tmp_path}/events/clicks*",), "clicked_at", "of", 300)
    with pytest.raises(ConfigError, match=r"join\.attribution_ms is 250 in the log, 300 here"):
        replay(options(tmp_path / "events", tmp_path / "log", join=other))


def test_files_that_are_both_are_refused(tmp_path):
    write(tmp_path / "events", *a_log())
    both = JoinOptions((f"{tmp_path}/events/*",), "clicked_at", "of", 250)
    with pytest.raises(ConfigError, match=r"join\.files: .*shown-0\.parquet is among source"):
        replay(options(tmp_path / "events", tmp_path / "log", join=both))


def test_clicks_without_their_columns_are_refused(tmp_path):
    shown, clicks = a_log()
    write(tmp_path / "events", shown, clicks.rename_columns(["clicked_at", "request"]))
    with pytest.raises(ConfigError, match=r"clicks\.parquet: column 'of' is missing"):
        replay(options(tmp_path / "events", tmp_path / "log"))
