"""The four logs, in full and short, written as mini-batch logs; and each one's first fifth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from beam_jobs.options import ReplayOptions
from beam_jobs.replay import replay
from stream_prune.cli.config import Config, load
from stream_prune.datasets import load as load_dataset
from stream_prune.datasets.known_truth import drifts_path
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.reader import windows

CONFIGS = Path(__file__).parents[2] / "configs"

SEARCHED = 0.2
"""Share of the stream on which learning rates are searched; figures are of what comes after."""

RECOVERY = 0.03
"""Share of the stream after a drift in which recovery is looked at; at least a window."""


@dataclass(frozen=True)
class Log:
    """A log as it is used here.

    Attributes:
        name: in tables.
        config: the file of ``configs/`` that holds its model, optimizer, tables and windows.
        rows: events; of a generated stream also the length that says where its drifts lie.
        rates: the learning rates that are tried, the same for every policy.
        generated: drifts are planted, at shares of the length.
    """

    name: str
    config: str
    rows: int
    rates: tuple[float, ...]
    generated: bool = False


def _from(lowest: float, count: int = 6) -> tuple[float, ...]:
    """So many rates, each twice the one before."""
    return tuple(lowest * 2**power for power in range(count))


LOGS = (
    Log("flights", "quickstart/dense.yaml", 336_776, _from(0.00035)),
    Log("ml-100k", "ml-100k.yaml", 100_000, _from(0.00125)),
    Log("synthetic", "synthetic.yaml", 750_000, _from(0.002), generated=True),
    Log("capacity-bound", "capacity-bound.yaml", 1_500_000, _from(0.00025), generated=True),
)
SHORT_LOGS = (
    Log("flights", "quickstart/dense.yaml", 100_000, _from(0.00035, 3)),
    Log("capacity-bound", "capacity-bound.yaml", 200_000, _from(0.001, 3), generated=True),
)


@dataclass(frozen=True)
class Written:
    """A mini-batch log that has been written: its folder, windows, and mini-batches."""

    folder: Path
    windows: int
    batches: int


@dataclass(frozen=True)
class Stream:
    """A log that has been written.

    Attributes:
        log: what was asked for.
        whole: all events.
        first: the first fifth of them, in a mini-batch log of its own.
        spec: the columns.
        drifts: event times (ms) from the start of each planted drift to the end of the stretch
            after it in which recovery is looked at.
    """

    log: Log
    whole: Written
    first: Written
    spec: FeatureSpec
    drifts: tuple[tuple[int, int], ...]

    def rows(self, share: float) -> int:
        """So many events are this share of the stream."""
        return ceil(share * self.log.rows)


def prepare(log: Log, folder: Path) -> Stream:
    """Write the events and both mini-batch logs, unless they are there."""
    config = load(CONFIGS / log.config)
    assert config.source is not None
    assert config.source.dataset is not None
    dataset: Any = load_dataset(config.source.dataset)
    drifting = (dataset.Settings(events=log.rows),) if log.generated else ()
    files, written, length = {}, {}, 0
    for name, rows in (("first", ceil(SEARCHED * log.rows)), ("whole", log.rows)):
        (files[name],) = dataset.prepare(folder / "data", rows, *drifting)
        replay(_options(config, files[name], folder / name))
        found = list(windows(FolderLog.open(folder / name)))
        length = found[-1].end - found[0].start
        batches = sum(len(window.batches) for window in found)
        written[name] = Written(folder / name, len(found), batches)
    after = max(round(RECOVERY * length), config.windows.length)
    drifts = _drifts(drifts_path(files["whole"]), after)
    return Stream(log, written["whole"], written["first"], config.spec(), drifts)


def _options(config: Config, file: Path, log: Path) -> ReplayOptions:
    return ReplayOptions(
        files=(str(file),),
        spec=config.spec(),
        log=log,
        window_ms=config.windows.length,
        out_of_orderness_ms=config.windows.out_of_orderness,
        max_jump_ms=config.windows.max_jump,
        batch_rows=config.windows.batch_rows,
    )


def _drifts(path: Path, after_ms: int) -> tuple[tuple[int, int], ...]:
    """A gradual drift counts from its start to the stretch after its end."""
    if not path.exists():
        return ()
    known = json.loads(path.read_text(encoding="utf-8"))["drifts"]
    return tuple((drift["start_time"], drift["end_time"] + after_ms) for drift in known)
