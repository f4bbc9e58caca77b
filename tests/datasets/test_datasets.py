from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stream_prune import datasets
from stream_prune.cli.main import run
from stream_prune.datasets.event_file import event_path, is_made_from, write_events
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

NAMES = (
    "amazon-book",
    "avazu",
    "capacity-bound",
    "criteo-1tb",
    "criteo-kaggle",
    "flights",
    "flights-3m",
    "gowalla",
    "kuairand",
    "mind",
    "ml-100k",
    "ml-1m",
    "ml-20m",
    "ml-25m",
    "synthetic",
    "yelp2018",
)
LICENCES = (
    "CC BY",
    "CC0",
    "ask to be cited",
    "asks to be cited",
    "do not redistribute",
    "no licence needed",
    "public domain",
)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    assert datasets.names() == NAMES
    known = ", ".join(NAMES)
    with pytest.raises(ConfigError, match=f"dataset = 'bikes': must be one of {known}"):
        datasets.load("bikes")


def test_the_list_says_source_and_licence_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["datasets", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(NAMES)
    for line in lines:
        assert any(words in line for words in LICENCES), line


@pytest.mark.parametrize("name", NAMES)
def test_a_description_is_the_feature_specification_as_yaml(name, capsys) -> None:
    assert run(["datasets", "describe", name]) == 0
    described = FeatureSpec.from_dict(yaml.safe_load(capsys.readouterr().out))
    assert described == datasets.load(name).SPEC


@pytest.mark.parametrize("name", ["capacity-bound", "synthetic"])
def test_fetching_writes_the_rows_that_were_asked_for(name, tmp_path: Path, capsys) -> None:
    assert run(["datasets", "fetch", name, str(tmp_path), "--rows", "300"]) == 0
    path = tmp_path / f"{name}-300.parquet"
    assert str(path) in capsys.readouterr().out
    assert pq.read_metadata(path).num_rows == 300
    assert {p.name for p in tmp_path.iterdir()} == {path.name, f"{name}-300.drifts.json"}


@pytest.mark.parametrize("name", NAMES)
def test_fewer_than_one_row_is_refused(name, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows = 0: must be 1 or more"):
        datasets.load(name).prepare(tmp_path, 0)


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    def tables():
        import pyarrow as pa

        yield pa.table({"x": [1, 2]})
        raise OSError("no space left")

    path = event_path(tmp_path, "clicks", None)
    with pytest.raises(OSError, match="no space left"):
        write_events(path, "a log", tables())
    assert list(tmp_path.iterdir()) == []
    assert not is_made_from(path, "a log")


@given(rows=st.one_of(st.none(), st.integers(1)))
def test_a_part_of_a_stream_never_takes_the_name_of_another(rows: int | None) -> None:
    assert event_path("data", "clicks", rows).stem == (
        "clicks" if rows is None else f"clicks-{rows}"
    )
