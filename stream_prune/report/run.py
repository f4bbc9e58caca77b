"""What a run folder tells: its journal's series, its events, its summary, its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_prune.errors import ConfigError, RunError
from stream_prune.report.event_log import Event, event_lines
from stream_prune.training import journal
from stream_prune.training.run_folder import CONFIG, JOURNAL, SUMMARY

ENVIRONMENT = "environment.json"
"""Machine and versions, written beside the journal by the command that trained."""
SERVING = "serving.json"
"""``artifact_bytes`` and ``latency_ms`` of the run's artifact, where they were measured."""

CHURN = ("admitted", "evicted")

Series = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TableHistory:
    """One embedding table: rows in use [T] at window ends; rows that came and went [C] at others.

    Attributes:
        time, used: ms, and rows in use at that time.
        churn_time, admitted, evicted: ms, and rows since the time before.
    """

    time: Series
    used: Series
    churn_time: Series
    admitted: Series
    evicted: Series


@dataclass(frozen=True)
class Run:
    """A run as its folder holds it at this moment; one that is still going has no summary."""

    name: str
    lines: list[dict[str, Any]]
    config: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    artifact_bytes: float | None = None
    latency_ms: float | None = None

    @cached_property
    def windows(self) -> list[dict[str, Any]]:
        """The journal's lines of windows that had rows to evaluate."""
        return [line for line in self.lines if line["kind"] == "window"]

    @cached_property
    def time(self) -> Series:
        """Window ends [T], ms."""
        return np.array([line["window_end"] for line in self.windows], np.float64)

    def column(self, key: str) -> Series:
        """A figure per window [T], NaN where the journal has none."""
        values = (line.get(key) for line in self.windows)
        return np.array([np.nan if v is None else float(v) for v in values], np.float64)

    def figure(self, *keys: str) -> float | None:
        """A figure of the summary by its key, or keys where it is nested; None if there is none."""
        value: Any = self.summary
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            value = sum(value.values())
        return None if value is None else float(value)

    @cached_property
    def events(self) -> list[Event]:
        """Drift alarms and decisions in the order of the stream."""
        return list(event_lines(self.lines, f"{self.name}/{JOURNAL}"))

    def _timed(self) -> Iterator[tuple[dict[str, Any], float]]:
        """Every line with the end of the window it was written in (ms)."""
        now = float("nan")
        for line in self.lines:
            now = line.get("window_end", now)
            yield line, now

    @cached_property
    def start(self) -> Mapping[str, Any]:
        """The journal's first line: features, cost at full size, environment."""
        return next((line for line in self.lines if line["kind"] == "start"), {})

    @cached_property
    def density(self) -> Series:
        """MACs over the dense model's [T]."""
        dense = self.start.get("dense_macs_inference") or np.nan
        return self.column("macs_inference") / float(dense)

    @cached_property
    def rows_used(self) -> Series:
        """Rows in use over all tables [T]."""
        return np.array([sum(w["rows_used"].values()) for w in self.windows], np.float64)

    @cached_property
    def tables(self) -> dict[str, TableHistory]:
        """Each embedding table's rows over time."""
        if not self.windows:
            return {}
        churn = [(now, line["tables"]) for line, now in self._timed() if line["kind"] == "churn"]
        at = np.array([time for time, _ in churn], np.float64)
        return {
            name: TableHistory(
                self.time,
                np.array([window["rows_used"][name] for window in self.windows], np.float64),
                at,
                *(np.array([t[name][key] for _, t in churn], np.float64) for key in CHURN),
            )
            for name in self.windows[-1]["rows_used"]
        }

    @cached_property
    def widths(self) -> dict[str, tuple[list[float], list[int]]]:
        """Per group of units: times (ms) from which on it was so wide, and units."""
        found: dict[str, tuple[list[float], list[int]]] = {}
        for event in self.events:
            before, after = (event.record.get(key) or {} for key in ("plan_before", "plan"))
            for name, units in after.get("units", {}).items():
                if not np.isfinite(event.time):
                    continue
                at, kept = found.setdefault(name, ([-np.inf], [before["units"][name]]))
                at.append(event.time)
                kept.append(units)
        return found

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """First and last window end; None where there is no window yet."""
        if not len(self.time):
            return None
        first, last = (datetime.fromtimestamp(self.time[i] / 1000, UTC) for i in (0, -1))
        return first, last


def read_run(folder: Path) -> Run:
    """The run in ``folder``, also one that is being written at this moment.

    Raises:
        ConfigError: the folder holds no run.
        RunError: a file in it can't be read.
    """
    path = journal_of(folder)
    serving = _read_json(folder / SERVING)
    return Run(
        name=folder.name,
        lines=list(journal.read(path)),
        config=_read_json(folder / CONFIG),
        environment=_read_json(folder / ENVIRONMENT),
        summary=_read_json(folder / SUMMARY),
        artifact_bytes=serving.get("artifact_bytes"),
        latency_ms=serving.get("latency_ms"),
    )


def journal_of(folder: Path) -> Path:
    """The journal of a run folder.

    Raises:
        ConfigError: there is none.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: name the folder of a run")
    if not (folder / JOURNAL).is_file():
        raise ConfigError(f"{folder}: is no run folder: there is no {JOURNAL} in it")
    return folder / JOURNAL


def _read_json(path: Path) -> dict[str, Any]:
    """The mapping in a file, an empty one where there is no file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise RunError(f"{path}: is no mapping")
    return values
