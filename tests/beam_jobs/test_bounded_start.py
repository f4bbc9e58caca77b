"""A job goes on from the last commits of a log: sums, join and all, however long the log is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clicks import SPEC, clicks, options, windows, write

from beam_jobs.join_options import JoinOptions
from beam_jobs.replay import replay
from beam_jobs.sink import Reconciliation
from stream_prune.cli.reconciled import reconciled
from stream_prune.minibatch.folder_log import FolderLog

TIMES = list(range(10_000, 30_000, 25))


@pytest.mark.parametrize("joined", [False, True])
def test_few_records_of_a_long_log_are_read_and_the_sums_are_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: bool
) -> None:
    table = clicks(TIMES, request=[str(i) for i in range(len(TIMES))])
    files = write(tmp_path / "in", table)
    pressed = pa.table({"at": [t + 60 for t in TIMES[::9]], "request": table["request"][::9]})
    pq.write_table(pressed, tmp_path / "clicks.parquet")
    spec = replace(SPEC, event_key="request", label_delay_ms=300)
    join = JoinOptions((str(tmp_path / "clicks.parquet"),), "at", "request", 300)
    given = replace(options(files, tmp_path / "log", epoch_rows=200), spec=spec)
    given = replace(given, join=join if joined else None)
    whole = replay(replace(given, log=tmp_path / "whole"))
    epochs = []

    class Killed(Exception):
        pass

    def kill(now: object) -> None:
        epochs.append(now)
        if len(epochs) == 4:
            raise Killed

    with pytest.raises(Killed):
        replay(given, progress=kill)
    log = FolderLog.open(tmp_path / "log")
    before = len(log.commits(0))
    assert before > 60
    (tmp_path / "log" / "state" / "9900-0-clicks.arrow").write_bytes(b"left by a killed run")
    read: list[int] = []
    record = FolderLog.record

    def counted(self: FolderLog, shard: int, number: int) -> object:
        read.append(number)
        return record(self, shard, number)

    monkeypatch.setattr(FolderLog, "record", counted)
    assert replay(given) == whole
    assert len(read) < before
    assert reconciled(tmp_path / "log") == whole
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    assert (tmp_path / "log" / "state" / "9900-0-clicks.arrow").exists() != joined


def test_the_sums_of_a_log_whose_commits_have_none_are_read_from_all_of_them(
    tmp_path: Path,
) -> None:
    done = replay(options(write(tmp_path / "in", clicks(TIMES)), tmp_path / "log"))
    for file in (tmp_path / "log" / "commits" / "0").iterdir():
        values = json.loads(file.read_text())
        values.pop("totals", None)
        file.unlink()
        file.write_text(json.dumps(values))
    assert Reconciliation.of(FolderLog.open(tmp_path / "log")) == done
