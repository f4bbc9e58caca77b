"""A training run whose tables share one total of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.training.trainer import Trainer

BUDGET = {"macs": 0.4, "rows": 0.3, "whole_tables_below": 0, "split": "coverage"}
TABLES = {"default_capacity": 300, "half_life": 500.0, "half_lives": [500.0, 5000.0]}
SPLIT: dict[str, Any] = {
    **SPARSE,
    "tables": TABLES,
    "sparsity": {
        **SPARSE["sparsity"],
        "window_rows": 500,
        "budget": {**BUDGET, "split_rows": 2000},
    },
}


def test_rows_go_from_a_column_of_few_ids_to_one_of_many_and_a_resumed_run_splits_alike(
    tmp_path: Path,
):
    spec, rows = a_spec(), drifting_rows(8_000)
    write_log(tmp_path / "log", spec, rows)
    whole = a_config(tmp_path, "whole", **SPLIT)
    summary = Trainer(whole).run()
    plans = [line["plan"]["rows"] for line in journal_of(whole) if "plan" in line]
    assert summary["budget"]["rows"]["met"]
    assert plans[-1]["user"] > 110 > 60 > plans[-1]["item"]  # 300 users, 40 items
    assert all(sum(plan.values()) <= 180 for plan in plans if plan["user"] < 300)
    moved = [line for line in journal_of(whole) if line.get("trigger") == "coverage"]
    assert all(line["plan_before"]["rows"] != line["plan"]["rows"] for line in moved)

    parts = replace(a_config(tmp_path, "parts", **SPLIT), log=tmp_path / "growing")
    for hours in (11, 17, None):
        write_log(parts.log, spec, rows, until=None if hours is None else (400 + hours) * HOUR)
        Trainer(parts).run()
    assert_same_bits(final_states(whole), final_states(parts))
