"""Run folders as the trainer leaves them, made of numbers that a test knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HOUR = 3_600_000
START = 1_357_000_000_000 // HOUR * HOUR


def write_run(folder: Path, *, seed: int, windows: int = 60, events: bool = False) -> Path:
    """A finished run of so many windows; with ``events``, an alarm and two re-adjustments."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = [{"kind": "start", "dense_macs_inference": 5000}]
    ne = 0.95 - 0.05 * np.linspace(0, 1, windows) + 0.02 * random.standard_normal(windows)
    for i in range(windows):
        end = START + (i + 1) * 6 * HOUR
        lines.append(
            {
                "kind": "window",
                "window_end": end,
                "rows": 200,
                "labelled": 190,
                "ne": None if i == 5 else float(ne[i]),
                "auc": 0.7,
                "ne_cumulative": float(ne[: i + 1].mean()),
                "sliding_auc": 0.7 + 0.001 * i if i % 5 == 0 else None,
                "macs_inference": 5000 if i < 20 else 1000,
                "rows_used": {"tailnum": 100 * i, "origin": 3},
            }
        )
        if i % 10 == 0:
            tables = {
                "tailnum": {"admitted": 5, "evicted": i},
                "origin": {"admitted": 0, "evicted": 0},
            }
            lines.append({"kind": "churn", "tables": tables})
    if events:
        for kind, at in (("shrink", 20), ("drift", 40), ("grow", 41)):
            lines.append(
                {
                    "kind": kind,
                    "event_time": START + at * 6 * HOUR,
                    "rows": at * 200,
                    "trigger": {"shrink": "warm-up", "drift": "detector", "grow": "drift"}[kind],
                    "severity": 9.5 if kind == "drift" else None,
                    "density_before": 1.0 if kind == "shrink" else 0.2,
                    "density_after": {"shrink": 0.2, "drift": 0.2, "grow": 0.4}[kind],
                    "macs_before": 5000,
                    "macs_after": 1000,
                    "plan_before": {"units": {"top.0": 512}},
                    "plan": {"units": {"top.0": 104 if kind == "shrink" else 512}},
                    "rate": 3.0,
                    "clock": {"seconds": 0.021},
                }
            )
    lines.append({"kind": "end"})
    with (folder / "journal.jsonl").open("w") as file:
        for step, line in enumerate(lines):
            file.write(json.dumps({"run": folder.name, "step": step, **line}) + "\n")
    summary = {
        "ne": 0.92,
        "auc": 0.7123,
        "parameters": 4097,
        "rows_used": {"tailnum": 5900},
        "clock": {"examples_per_s": 9000.0},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "config.json").write_text(json.dumps({"seed": seed, "model": {"name": "dlrm"}}))
    (folder / "environment.json").write_text(json.dumps({"python": "3.11.7", "cores": 2}))
    return folder
