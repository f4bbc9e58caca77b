"""What a run's configuration says of its tables is what they do, and what the journal tells."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.errors import ConfigError
from stream_prune.training.build import build
from stream_prune.training.trainer import Trainer


def test_a_column_s_bags_are_summed_where_the_configuration_says_so(tmp_path: Path) -> None:
    spec = a_spec(multi=True)
    config = a_config(tmp_path, tables={"admission": 1, "combines": {"tags": "sum"}})
    tables = build(config, spec).tables
    assert [table.combine for table in tables.tables.values()] == ["mean", "mean", "sum"]
    ids, offsets = np.array([1, 2, 7, 8]), np.array([0, 1, 2, 4])
    tables.admit(ids, offsets)
    tables.weight.copy_(torch.randn(tables.weight.shape))
    with torch.no_grad():
        bag = tables(ids, offsets)[0, 2]
        single = [tables(np.array([1, 2, tag]))[0, 2] for tag in (7, 8)]
    torch.testing.assert_close(bag, single[0] + single[1])


def test_an_unknown_column_or_way_to_combine_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tables\.combines\.user = 'max': must be one of"):
        a_config(tmp_path, tables={"combines": {"user": "max"}})
    config = a_config(tmp_path, tables={"combines": {"nobody": "sum"}})
    with pytest.raises(ConfigError, match=r"tables\.combines\.nobody: no such categorical column"):
        build(config, a_spec())


def test_a_run_names_the_back_end_of_its_tables_at_its_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_log(tmp_path / "log", a_spec(), drifting_rows(100))
    config = a_config(tmp_path)
    with caplog.at_level(logging.INFO):
        Trainer(config).run()
    told = journal_of(config)[0]["tables"]
    assert told == {
        "backend": "flat",
        "storage": f"flat (torch {torch.__version__}, row-wise Adagrad) on cpu",
    }
    assert any(told["storage"] in message for message in caplog.messages)


@pytest.mark.parametrize("name", ["adam", "adagrad"])
def test_a_run_with_narrow_rows_resumes_as_if_never_stopped_and_tells_what_they_take(
    tmp_path: Path, name: str
) -> None:
    spec, rows = a_spec(), drifting_rows(1500)
    write_log(tmp_path / "log", spec, rows)
    narrow = {
        **SPARSE,
        "tables": {"default_capacity": 200, "admission": 1, "dims": {"user": 4}},
        "optimizer": {"name": name, "lr": 0.005, "rows_lr": 0.1},
    }
    at_once = a_config(tmp_path, "at-once", **narrow)
    Trainer(at_once).run()
    halves = replace(a_config(tmp_path, "halves", **narrow), log=tmp_path / "growing")
    for until in (412 * HOUR, None):
        write_log(halves.log, spec, rows, until=until)
        Trainer(halves).run()
    assert_same_bits(final_states(halves), final_states(at_once))
    states = final_states(at_once)
    before = build(at_once, spec).tables.state_dict()["projections.0"]
    assert not torch.equal(states["tables"]["projections.0"], before)
    told = journal_of(at_once)
    assert told[0]["tables"]["storage"].endswith("rows of widths 8, 4")
    sizes = told[-1]["rows_capacity"]
    widths = {column: 4 if column == "user" else 8 for column in sizes}
    numbers = sum((sizes[column] + 1) * widths[column] for column in sizes)
    assert told[-1]["embedding_parameters"] == numbers + 4 * 8


def test_a_width_that_a_run_cannot_have_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tables\.dims\.user = 0: must be 1 or more"):
        a_config(tmp_path, tables={"dims": {"user": 0}})
    with pytest.raises(ConfigError, match=r"tables\.dims\.user = 9: must be at most model\.dim, 8"):
        a_config(tmp_path, tables={"dims": {"user": 9}})
    config = a_config(tmp_path, tables={"dims": {"nobody": 4}})
    with pytest.raises(ConfigError, match=r"tables\.dims\.nobody: no such categorical column"):
        build(config, a_spec())
    config = a_config(tmp_path, tables={"dims": {"user": 6}, "backend": "fbgemm"})
    with pytest.raises(ConfigError, match=r"tables\.dims\.user = 6: FBGEMM needs a multiple of 4"):
        build(config, a_spec())
