"""How long the trainer itself waits at most while a process beside it publishes its models."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from record import Figure
from rich.console import Console

from serve_models.artifacts import NAME
from stream_prune.cli.config import Config, load
from stream_prune.cli.job import run_replay, save_job
from stream_prune.cli.publisher import publisher
from stream_prune.registry.publications import PUBLISHED, REFUSED, Publications
from stream_prune.registry.publishing import Publishing
from stream_prune.training.run_folder import CHECKPOINTS
from stream_prune.training.trainer import Trainer

_BATCH, _EVERY_WINDOWS = 2048, 12


@dataclass(frozen=True)
class _Run:
    """What a run's steps took.

    Attributes:
        taken: seconds from the start of one learning step to the start of the next: scoring,
            control, evaluation, reading and checkpoints in between are part of it.
        waited: of these, seconds in which the trainer's thread did not run.
        saved: whether a checkpoint was written in between.
        begun: seconds that starting the publisher took.
        published: versions made before the last step.
    """

    taken: npt.NDArray[np.float64]
    waited: npt.NDArray[np.float64]
    saved: npt.NDArray[np.bool_]
    begun: float
    published: int

    def longest(self, saved: bool) -> float:
        """Longest wait of the steps with or without a checkpoint, the first step left out."""
        return float(self.waited[1:][self.saved[1:] == saved].max())


def real_run(folder: Path, rows: int) -> list[Figure]:
    """Train on a click log twice: without publishing, and with it every few windows.

    Checkpoints are written in both. A step's wait is its time by the clock less the processor time
    of the trainer's thread, so it holds all that others take of the machine.

    Args:
        folder: for the log, the runs and the registry's database.
        rows: events of the synthetic log.
    """
    config = _config(folder, rows)
    run_replay(config, Console(quiet=True))
    alone = _trained(config, folder / "alone", published=False)
    beside = _trained(config, folder / "run", published=True)
    step = float(np.median(alone.taken))
    longest = max(beside.begun, beside.longest(saved=False)) / step
    note = (
        f"of {len(beside.waited)} steps, median {np.median(beside.waited) / step:.2f}; "
        f"starting the publisher: {beside.begun / step:.2f}"
    )
    return [
        Figure("a real run's training step", 1e3 * step, "ms"),
        Figure("models that it published as it trained", beside.published, "", ">= 1",
               beside.published >= 1),
        Figure("its longest wait while publishing", longest, "steps", "< 1", longest < 1, note),
        Figure("its longest wait with no publisher", alone.longest(saved=False) / step, "steps",
               note=f"median {np.median(alone.waited) / step:.2f}"),
        Figure("its longest wait at a checkpoint, publishing", beside.longest(saved=True) / step,
               "steps"),
        Figure("its longest wait at a checkpoint, no publisher", alone.longest(saved=True) / step,
               "steps"),
    ]  # fmt: skip


def _config(folder: Path, rows: int) -> Config:
    values: dict[str, Any] = {
        "run": str(folder / "run"),
        "log": str(folder / "log"),
        "source": {"dataset": "synthetic", "folder": str(folder / "data"), "rows": rows},
        "windows": {"length": f"{2 * _BATCH}s", "batch_rows": _BATCH},
        "model": {"name": "dlrm", "dim": 16, "bottom": [512, 256, 64], "top": [512, 256]},
        "optimizer": {"name": "adagrad", "lr": 0.01, "rows_lr": 0.02},
        "tables": {"default_capacity": 20_000},
        "checkpoint": {"every_windows": _EVERY_WINDOWS},
        "artifact": {"rows": "int8"},
        "registry": {"tracking_uri": f"sqlite:///{folder}/real.db", "model": f"{NAME}-of-a-run"},
    }
    path = folder / "real.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load(path)


def _trained(config: Config, run: Path, published: bool) -> _Run:
    """One run from beginning to end, as ``stream-prune train`` makes it."""
    when = Publishing(every_windows=_EVERY_WINDOWS if published else None)
    config = config.model_copy(
        update={"training": replace(config.training, run=run), "publish": when}
    )
    trainer = Trainer(config.training)
    run.mkdir()
    save_job(config, run)
    learner, marks = trainer.state.learner, list[tuple[float, float, int]]()
    learn, checkpoints = learner.learn, run / CHECKPOINTS

    def marked(*given: Any) -> Any:
        written = max((int(path.name) for path in checkpoints.glob("0*")), default=0)
        marks.append((time.perf_counter(), time.thread_time(), written))
        return learn(*given)

    learner.learn = marked  # type: ignore[method-assign]
    begun = time.perf_counter()
    with publisher(run, config):
        begun = time.perf_counter() - begun
        trainer.run()
        fates = [line.outcome for line in Publications(run).lines()]
    clock, worked, written = (np.diff(each) for each in zip(*marks, strict=True))
    made = fates.count(PUBLISHED) + fates.count(REFUSED)
    return _Run(clock, clock - worked, written > 0, begun, made)
