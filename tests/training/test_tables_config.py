"""What a run's configuration says of its tables is what they do, and what the journal tells."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import a_config, journal_of
from training_logs import a_spec, drifting_rows, write_log

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
