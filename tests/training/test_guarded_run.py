"""A training run whose re-adjustments are compared with the model before them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from test_trainer import SPARSE, a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.training.checkpoint import read_states
from stream_prune.training.trainer import Trainer


def guarded(**guardrail: Any) -> dict[str, Any]:
    return {**SPARSE, "sparsity": {**SPARSE["sparsity"], "guardrail": guardrail}}


def test_a_run_stopped_in_the_middle_of_a_comparison_ends_like_one_that_was_not(tmp_path: Path):
    values = guarded(windows=3, tolerance=0.0, significance=0.0, wait_windows=1)
    spec, rows = a_spec(), drifting_rows(3000)
    write_log(tmp_path / "log", spec, rows)
    whole = a_config(tmp_path, "whole", **values)
    summary = Trainer(whole).run()
    kinds = [line["kind"] for line in journal_of(whole)]
    assert "guardrail" in kinds or "revert" in kinds
    assert summary["reverts"] == summary["guardrail"]["taken_back"] == kinds.count("revert")
    assert set(summary["budget"]) == {"macs", "rows"}

    parts = replace(a_config(tmp_path, "parts", **values), log=tmp_path / "growing")
    comparing = []
    for hours in (6, 9, 11, None):
        write_log(parts.log, spec, rows, until=None if hours is None else (400 + hours) * HOUR)
        Trainer(parts).run()
        last = max((parts.run / "checkpoints").iterdir())
        comparing.append(bool(read_states(last)["controller"]["guard/plan"]))
    assert any(comparing[:-1]), comparing
    assert_same_bits(final_states(whole), final_states(parts))
    expected, found = journal_of(whole), journal_of(parts)
    del expected[0]["config"]["log"], found[0]["config"]["log"]
    assert found == expected
