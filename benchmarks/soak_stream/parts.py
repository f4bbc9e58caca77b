"""Parts of a soak that run on different days: one file of figures, each part with its own when."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from record import Figure, compact

from stream_prune.cli.environment import environment


@dataclass(frozen=True)
class Began:
    """When a part began, on which version, and how busy the machine was."""

    date: str
    commit: str
    load: float
    clock: float

    def ended(self) -> dict[str, Any]:
        """What goes beside the figures; loads are averages over the minute before."""
        return {
            "date": self.date,
            "commit": self.commit,
            "load before": self.load,
            "load at the end": round(os.getloadavg()[0], 2),
            "seconds": round(time.monotonic() - self.clock),
        }


def begin() -> Began:
    """Take down what a part starts from."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    commit = done.stdout.strip() or "unknown"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Began(date, commit, round(os.getloadavg()[0], 2), time.monotonic())


def merge(
    file: Path, part: str, figures: list[Figure], details: dict[str, Any], order: Sequence[str]
) -> None:
    """Write a part's figures to ``file``; those of other parts that stand there stay."""
    parts = json.loads(file.read_text())["parts"] if file.exists() else {}
    parts[part] = {**details, "figures": [asdict(figure) for figure in figures]}
    record = {
        "machine": environment(),
        "seeds": [1],
        "parts": {name: parts[name] for name in order if name in parts},
    }
    file.write_text(compact(json.dumps(record, indent=1)) + "\n")
    print(f"{part}: written to {file}", flush=True)
