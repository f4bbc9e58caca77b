from __future__ import annotations

import json
from dataclasses import replace

import pytest
from log_builder import LENGTH, SPEC, create

from stream_prune.errors import ConfigError, RunError
from stream_prune.features import Categorical, Dense
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.header import LogHeader

HEADER = LogHeader.of(SPEC, window_ms=LENGTH, batch_rows=100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dense": (Dense("x", "log1p"),)}, "features.dense[0].transform is 'identity' in the log"),
        ({"dense": (Dense("x", missing=0),)}, "features.dense[0].missing is None in the log, 0.0"),
        ({"dense": ()}, "features.dense is [{'name': 'x', 'transform': 'identity'}] in the log"),
        (
            {"categorical": (Categorical("user"), Categorical("genres"))},
            "features.categorical[1].multi is True in the log, False here",
        ),
        ({"label": "z"}, "features.label is 'y' in the log, 'z' here"),
        ({"label_delay_ms": 5}, "features.label_delay_ms is 0 in the log, 5 here"),
    ],
)
def test_a_log_of_another_specification_is_refused_and_the_difference_named(
    tmp_path, change, message
):
    create(tmp_path / "log")
    with pytest.raises(ConfigError) as refusal:
        FolderLog.open(tmp_path / "log", replace(SPEC, **change))
    assert message in str(refusal.value)
    assert str(tmp_path / "log") in str(refusal.value)
    assert "fingerprint" not in str(refusal.value)


def test_a_log_of_another_encoding_of_the_same_columns_is_refused(tmp_path):
    create(tmp_path / "log")
    header = tmp_path / "log" / "log.json"
    header.write_text(header.read_text().replace(SPEC.fingerprint, "0" * 64))
    for spec in (SPEC, None):
        with pytest.raises(ConfigError, match="fingerprint is '0000"):
            FolderLog.open(tmp_path / "log", spec)


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no mini-batch log"):
        FolderLog.open(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 1, "window_ms": "a"}'])
def test_a_header_that_is_none_is_refused_with_its_path(tmp_path, content):
    (tmp_path / "log.json").write_text(content)
    with pytest.raises(ConfigError, match=r"log\.json: not the header"):
        FolderLog.open(tmp_path)


def test_a_log_of_a_later_format_is_refused(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps({"format": 2, "other": 1}))
    with pytest.raises(ConfigError, match="format 2"):
        FolderLog.open(tmp_path)


@pytest.mark.parametrize("change", [{"window_ms": 0}, {"shards": 0}, {"batch_rows": -1}])
def test_a_header_out_of_range_is_refused(change):
    ((field, value),) = change.items()
    with pytest.raises(ConfigError, match=f"{field} = {value}: must be 1 or more"):
        replace(HEADER, **change)


def test_a_log_in_a_place_that_is_a_file_is_a_clear_error(tmp_path):
    (tmp_path / "log").write_text("")
    with pytest.raises(RunError, match="log"):
        create(tmp_path / "log")
    with pytest.raises(RunError, match="log"):
        FolderLog.open(tmp_path / "log")
