"""The training loop: score a window at its event time, learn it once its labels are known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import DivergedError
from stream_prune.evaluation.prequential import Prequential
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import Learn, Score
from stream_prune.sparsity.events import Event
from stream_prune.stateful import Stateful
from stream_prune.training import figures
from stream_prune.training.build import build, part_seed
from stream_prune.training.checkpoint import Checkpoints
from stream_prune.training.clock import Clock
from stream_prune.training.config import RESULT_FREE, TrainingConfig
from stream_prune.training.cursors import Cursors
from stream_prune.training.feed import Feed, feed
from stream_prune.training.figures import Figures
from stream_prune.training.journal import CLOCK, Journal
from stream_prune.training.progress import Progress
from stream_prune.training.run_folder import (
    CHECKPOINTS,
    JOURNAL,
    SUMMARY,
    locked,
    settle_config,
    write_json,
)
from stream_prune.training.torch_state import ModuleState, OptimizerState, RandomState

log = logging.getLogger(__name__)

Floats: TypeAlias = npt.NDArray[np.float32]


class Trainer:
    """Trains one model on one mini-batch log, into one run folder.

    Killed at any point and started again it ends with the same bits. Arguments: ``on_window`` is
    called with every line of kind ``window`` as it is journaled (for a progress display).
    """

    def __init__(
        self, config: TrainingConfig, on_window: Callable[[Figures], None] = lambda _: None
    ) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.log: MiniBatchLog = FolderLog.open(config.log)
        self.spec = self.log.spec
        self.learner = build(config, self.spec)
        self._on_window = on_window
        evaluation = config.evaluation
        self._prequential = Prequential(
            evaluation.sliding_rows, evaluation.every_windows, evaluation.warmup_rows
        )
        self._cursors = Cursors(self.log)
        self._progress = Progress(
            full_rows=self.learner.full_rows,
            warmup_rows=evaluation.warmup_rows,
        )
        if config.sparsity is not None:
            self._progress.whole_below = config.sparsity.budget.whole_tables_below
        self._cost = self.learner.cost

    def run(self) -> Figures:
        """Go on from the last checkpoint to the end of the log; returns the summary.

        Raises:
            ConfigError: the run folder was started with another configuration.
            RunError: another trainer runs there; the log, the disk or the numbers failed.
        """
        with locked(self.config.run):
            self._clock = Clock()
            self._open()
            with self._feed() as steps:
                for step, batches in steps:
                    if isinstance(step, Score):
                        self._score(step, batches)
                    else:
                        self._learn(step, batches)
                        self._save_if_due()
            return self._finish()

    def _score(self, step: Score, batches: Iterator[MiniBatch]) -> None:
        scores = [np.empty(0, np.float32)]
        for batch in batches:
            with self._clock.phase("score"):
                scores.append(self.learner.score(batch))
        window = np.concatenate(scores)
        if not np.isfinite(window).all():
            raise DivergedError(
                f"window {step.window.end}: scores are not finite, the model has diverged: lower "
                "optimizer.lr or optimizer.rows_lr and train into a new run folder"
            )
        self._cursors.scored(step, window)
        self._progress.rows_scored += step.window.rows

    def _learn(self, step: Learn, batches: Iterator[MiniBatch]) -> None:
        window = list(batches)
        scores = self._cursors.waiting(step)
        self._evaluate(step, window, scores)
        start = 0
        for batch in window:
            self._learn_batch(batch, scores[start : start + batch.rows])
            start += batch.rows
        with self._clock.phase("learn"):
            self.learner.end_window()
        self._cursors.learned(step)
        self._journal_churn()

    def _learn_batch(self, batch: MiniBatch, scores: Floats) -> None:
        labelled = batch.labelled
        rows = int(labelled.sum())
        self._progress.learned(rows, batch.rows - rows, self._cost)
        if not rows:
            return
        known, given = batch.take(labelled), scores[labelled]
        with self._clock.phase("learn"):
            self.learner.learn(known)
        with self._clock.phase("controller"):
            events = self.learner.regulate(known, given)
        self._record(events)
        self._progress.observe_rows(self.learner.tables.tables.values())
        if self._progress.warm:
            self._clock.warm()

    def _evaluate(self, step: Learn, window: list[MiniBatch], scores: Floats) -> None:
        """Judge the scores that waited for these labels; one line of the journal."""
        self._progress.step += 1
        self._progress.windows += 1
        if not window:
            self._progress.empty_windows += 1
            return
        with self._clock.phase("evaluate"):
            labels = np.concatenate([batch.label for batch in window])
            record = self._prequential.add(labels, scores)
        line = {
            "window_end": step.window.end,
            **record,
            **figures.now(self.learner, self._cost),
            CLOCK: {"seconds": self._clock.total, "learning": self._clock.learning},
        }
        self._journal_line("window", line)
        self._on_window(line)

    def _record(self, events: tuple[Event, ...]) -> None:
        """Journal what the controller did, and what the model costs from now on."""
        for event in events:
            record = event.record()
            kind, seconds = record.pop("kind"), record.pop("seconds")
            self._progress.happened(kind)
            self._journal_line(kind, record | {CLOCK: {"seconds": seconds}})
        if events:
            self._cost = self.learner.cost

    def _journal_churn(self) -> None:
        if self._progress.windows % self.config.evaluation.every_windows == 0:
            churn = self.learner.tables.churn().items()
            tables = {name: {"admitted": new, "evicted": old} for name, (new, old) in churn}
            self._journal_line("churn", {"tables": tables})

    def _journal_line(self, kind: str, record: Figures) -> None:
        with self._clock.phase("journal"):
            self._journal.write(self._progress.step, kind, record)

    def _feed(self) -> AbstractContextManager[Feed]:
        return feed(
            self.log,
            self._cursors.state,
            follow=self.config.follow,
            device=self.learner.device,
            clock=self._clock,
        )

    def _open(self) -> None:
        """Take up the last checkpoint, or begin."""
        run = self.config.run
        values = self.config.to_dict() | {
            "device": self.learner.device.type,
            "features": self.spec.fingerprint,
        }
        settle_config(run, values, RESULT_FREE)
        self._journal = Journal(run / JOURNAL, run.name)
        self._checkpoints = Checkpoints(run / CHECKPOINTS, self.config.checkpoint.keep)
        states = self._checkpoints.load()
        if states is None:
            torch.manual_seed(part_seed(self.config.seed, "training"))
            self._journal.restart()
            self._journal_line("start", figures.start(self.config, self.spec, self.learner))
            return
        for name, part in self._parts().items():
            part.load_state_dict(states[name])
        self._cost = self.learner.cost
        log.info("%s: going on from step %d", run, self._progress.step)

    def _parts(self) -> dict[str, Stateful]:
        """Everything that decides what happens next, in the order in which it is restored."""
        learner = self.learner
        controller = {} if learner.controller is None else {"controller": learner.controller}
        return controller | {
            "head": ModuleState(learner.head),
            "optimizer": OptimizerState(learner.optimizer),
            "tables": ModuleState(learner.tables),
            "evaluation": self._prequential,
            "cursors": self._cursors,
            "random": RandomState(learner.device),
            "progress": self._progress,
            "clock": self._clock,
            "journal": self._journal,
        }

    def _save_if_due(self) -> None:
        if self._progress.windows % self.config.checkpoint.every_windows == 0:
            self._save()

    def _save(self) -> None:
        with self._clock.phase("checkpoint"):
            self._journal.sync()
            self._checkpoints.save(self._progress.step, self._parts())

    def _finish(self) -> Figures:
        self._save()
        summary = self._summary()
        self._journal_line("end", summary)
        self._journal.close()
        write_json(self.config.run / SUMMARY, {"run": self._journal.run, **summary})
        return summary

    def _summary(self) -> Figures:
        progress = self._progress
        return {
            **self._prequential.summary(),
            **progress.figures(),
            "pending_windows": len(self._cursors.state.pending),
            **figures.end(self.learner, self._cost),
            CLOCK: self._clock.figures(progress.rows_learned, progress.late_rows),
        }
