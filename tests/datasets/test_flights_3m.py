from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_prune.datasets import flights_3m
from stream_prune.encoding import encode
from stream_prune.errors import RunError


@pytest.fixture(scope="module")
def stream(request: pytest.FixtureRequest) -> pa.Table:
    """Kept from one test run to the next: only the first one needs a network."""
    folder = request.config.cache.mkdir("flights-3m")
    (path,) = flights_3m.prepare(folder, 20_000)
    return pq.read_table(path)


def test_the_first_flights_are_in_the_order_of_departure(stream: pa.Table) -> None:
    assert stream.num_rows == 20_000
    times = stream["departure"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    assert stream["departure"][0].as_py() == dt.datetime(2001, 1, 1, 0, 1, tzinfo=dt.UTC)
    assert stream.slice(0, 1).to_pylist()[0] | {"departure": None} == {
        "departure": None,
        "late": 1,
        "distance": 2176,
        "origin": "LAS",
        "destination": "PHL",
        "route": "LAS-PHL",
        "hour": 0,
        "weekday": 0,
    }


def test_every_flight_passes_validation(stream: pa.Table) -> None:
    assert encode(flights_3m.SPEC, stream.combine_chunks().to_batches()[0]).reasons == []


def test_without_npm_the_user_is_told_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights_3m.shutil, "which", lambda name: None)
    expected = f"npm is not installed.*put vega-datasets-3.2.1.tgz into {tmp_path}"
    with pytest.raises(RunError, match=expected):
        flights_3m.prepare(tmp_path)
    monkeypatch.undo()

    def offline(command, **given):
        return subprocess.CompletedProcess(command, 1, "", "npm error\nno network\n")

    monkeypatch.setattr(flights_3m.shutil, "which", lambda name: "/bin/npm")
    monkeypatch.setattr(flights_3m.subprocess, "run", offline)
    with pytest.raises(RunError, match=r"could not be fetched \(no network\)"):
        flights_3m.prepare(tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vega-datasets-3.2.1-flights-3m.parquet").write_bytes(b"PAR1")
    with pytest.raises(RunError, match="is not the file that is expected"):
        flights_3m.prepare(tmp_path)
    (tmp_path / "vega-datasets-3.2.1-flights-3m.parquet").unlink()
    (tmp_path / "vega-datasets-3.2.1.tgz").write_bytes(b"no archive")
    with pytest.raises(RunError, match="remove it and try again"):
        flights_3m.prepare(tmp_path)
