"""One training run: asked for, trained, and kept, so that it is never made twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compare_policies.logs import Written
from stream_prune.cli.config import load
from stream_prune.comparison.series import Series
from stream_prune.errors import DivergedError
from stream_prune.training.config import TrainingConfig
from stream_prune.training.dataclass_reader import difference
from stream_prune.training.run_folder import JOURNAL, write_json
from stream_prune.training.trainer import Trainer

ASKED, RESULT, SERIES, TRAINER = "asked.json", "result.json", "series.npz", "trainer"

CHECKPOINTS = 4
"""In a run: an interrupted one loses no more than a quarter."""


@dataclass(frozen=True)
class Run:
    """A run that is asked for.

    Attributes:
        folder: its own.
        config: the file that its configuration begins with.
        changes: what is changed in it, one after the other; values of dotted keys.
        log: the mini-batch log.
        warmup_rows: labelled rows that figures leave out.
        rate: learning rate of the dense part.
        seed: of weights and everything random.
    """

    folder: Path
    config: Path
    changes: Sequence[Mapping[str, Any]]
    log: Written
    warmup_rows: int
    rate: float
    seed: int

    def training(self) -> TrainingConfig:
        """Its configuration; evaluation and checkpoints cost as little as can be."""
        own = {
            "run": str(self.folder / TRAINER),
            "log": str(self.log.folder),
            "seed": self.seed,
            "optimizer.lr": self.rate,
            "evaluation": {"warmup_rows": self.warmup_rows, "every_windows": self.log.windows},
            "checkpoint": {"every_windows": -(-self.log.windows // CHECKPOINTS), "keep": 1},
        }
        every = [item for changes in (*self.changes, own) for item in changes.items()]
        # JSON is YAML, which is what the values of changes are written in.
        return load(self.config, [f"{key}={json.dumps(value)}" for key, value in every]).training


@dataclass(frozen=True)
class Outcome:
    """What a run came to: its summary and its series, or that it has diverged."""

    summary: Mapping[str, Any]
    series: Series | None
    diverged: str = ""


def finished(run: Run) -> Outcome | None:
    """The run's outcome, if it was made before with the same settings; None otherwise."""
    if not (run.folder / RESULT).exists() or _changed(run, _asked(run)):
        return None
    result = json.loads((run.folder / RESULT).read_text())
    if result["diverged"]:
        return Outcome({}, None, result["diverged"])
    with np.load(run.folder / SERIES) as arrays:
        return Outcome(result["summary"], Series(**arrays))


def execute(run: Run) -> Outcome:
    """Make the run, or what is missing of it, and keep its outcome.

    A run that was made with other settings is made anew. Code that has changed is not noticed: give
    it another work folder.
    """
    asked = _asked(run)
    if _changed(run, asked):
        shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / ASKED, asked)
    try:
        summary, diverged = Trainer(run.training()).run(), ""
        series = Series.read(run.folder / TRAINER / JOURNAL)
        np.savez(run.folder / SERIES, **vars(series))
    except DivergedError as error:
        summary, diverged = {}, str(error)
    write_json(run.folder / RESULT, {"diverged": diverged, "summary": summary})  # last: it is done
    shutil.rmtree(run.folder / TRAINER)
    outcome = finished(run)
    assert outcome is not None
    return outcome


def _asked(run: Run) -> dict[str, Any]:
    config = run.training().to_dict()
    return {key: value for key, value in config.items() if key not in ("run", "log")}


def _changed(run: Run, asked: dict[str, Any]) -> bool:
    path = run.folder / ASKED
    return path.exists() and difference(json.loads(path.read_text()), asked) is not None
