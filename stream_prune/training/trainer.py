"""The training loop: score a window at its event time, learn it once its labels are known."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import torch

from stream_prune.errors import DivergedError, RunError
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.reader import Learn, Score
from stream_prune.stateful import Stateful
from stream_prune.training.account import Account, dropped
from stream_prune.training.behind import sampling
from stream_prune.training.build import part_seed
from stream_prune.training.checkpoint import Checkpoints, restore
from stream_prune.training.clock import Clock
from stream_prune.training.config import RESULT_FREE, TrainingConfig
from stream_prune.training.cursors import Floats, Scores
from stream_prune.training.feed import Feed, feed
from stream_prune.training.figures import Figures
from stream_prune.training.journal import Journal
from stream_prune.training.run_folder import (
    CHECKPOINTS,
    JOURNAL,
    SUMMARY,
    locked,
    reader_name,
    settle_config,
    write_json,
)
from stream_prune.training.run_state import RunState

log = logging.getLogger(__name__)


class Trainer:
    """Trains one model on one mini-batch log, into one run folder.

    Killed at any point and started again it ends with the same bits. A run that diverges goes back
    to its last checkpoint and on from there at half its learning rates. Arguments: ``on_window`` is
    called with every line of kind ``window`` as it is journaled (for a progress display).
    """

    def __init__(
        self, config: TrainingConfig, on_window: Callable[[Figures], None] = lambda _: None
    ) -> None:
        torch.set_num_threads(config.threads)
        self.config = config
        self.log: MiniBatchLog = open_log(config.log)
        self.state = RunState(config, self.log)
        self._on_window = on_window
        self._cost = self.state.learner.cost
        self._window_end = 0
        self._behind = 0

    def run(self) -> Figures:
        """Go on from the last checkpoint to the end of the log; returns the summary.

        Raises:
            ConfigError: the run folder was started with another configuration.
            RunError: another trainer runs there; the log, the disk or the numbers failed.
        """
        with locked(self.config.run), closing(self.log):
            self._clock = Clock()
            self._open()
            while True:
                try:
                    with self._feed() as steps:
                        for step, batches in steps:
                            if self._stops:
                                break
                            self._window_end = step.window.end
                            if isinstance(step, Score):
                                self._score(step, batches)
                            else:
                                self._learn(step, batches)
                                self._save_if_due()
                    return self._finish()
                except DivergedError as error:
                    self._go_back(error)

    def _score(self, step: Score, batches: Iterator[MiniBatch]) -> None:
        learner = self.state.learner
        own, reference = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
        for batch in batches:
            with self._clock.phase("score"):
                own.append(learner.score(batch))
                learner.watch(batch, own[-1])
                if learner.companion is not None:
                    reference.append(learner.companion.score(batch))
        scores = Scores(np.concatenate(own), np.concatenate(reference))
        if not np.isfinite(scores.own).all():
            where = learner.not_finite() or "no parameter: activations overflow"
            raise DivergedError(f"scores are not finite, because of {where}")
        self.state.cursors.scored(step, scores)
        self.state.progress.rows_scored += step.window.rows
        self.state.progress.rows_skipped += step.window.skipped
        self._behind = step.window.behind

    @property
    def _stops(self) -> bool:
        stop = self.config.stop_rows
        return stop is not None and self.state.progress.rows_scored >= stop

    @property
    def _frozen(self) -> bool:
        learn = self.config.learn_rows
        return learn is not None and self.state.progress.rows_learned >= learn

    def _learn(self, step: Learn, batches: Iterator[MiniBatch]) -> None:
        window = list(batches)
        scores = self.state.cursors.waiting(step)
        self._evaluate(step, window, scores.own)
        if not self._frozen:
            self._learn_window(window, scores)
        self.state.cursors.learned(step)
        if self.state.progress.windows % self.config.evaluation.every_windows == 0:
            self._account.churn()
            self._account.slices()

    def _learn_window(self, window: list[MiniBatch], scores: Scores) -> None:
        start = 0
        for batch in window:
            self._learn_batch(batch, scores.part(start, batch.labelled))
            start += batch.rows
        with self._clock.phase("learn"):
            self.state.learner.end_window()

    def _learn_batch(self, batch: MiniBatch, given: Scores) -> None:
        """One step on the labelled rows, and what the controller makes of it."""
        learner, progress = self.state.learner, self.state.progress
        rows = len(given.own)
        progress.learned(rows, batch.rows - rows, learner.training_cost(self._cost))
        if not rows:
            return
        known = batch.take(batch.labelled)
        progress.lookups += len(known.ids)
        with self._clock.phase("learn"):
            learner.learn(known, learner.soft_targets(known))
        with self._clock.phase("controller"):
            events = learner.regulate(known, given.own, given.compared)
        lost = dropped(
            learner.check_steps(),
            rows=progress.rows_learned,
            event_time=int(known.event_time[-1]),
            macs=self._cost.macs_inference,
        )
        self._account.events(events + lost)
        if events:
            self._cost = learner.cost
        progress.observe_rows(learner.tables.tables.values())
        if progress.warm:
            self._clock.warm()

    def _evaluate(self, step: Learn, window: list[MiniBatch], scores: Floats) -> None:
        """Judge the scores that waited for these labels; one line of the journal."""
        self.state.progress.step += 1
        self.state.progress.windows += 1
        if not window:
            self.state.progress.empty_windows += not step.window.skipped
            if step.window.skipped:
                self._account.skipped(step.window)
            return
        with self._clock.phase("evaluate"):
            labels = np.concatenate([batch.label for batch in window])
            record = self.state.prequential.add(labels, scores)
            if self.state.served is not None:
                served = [batch.served for batch in window if batch.served is not None]
                record["served"] = self.state.served.add(labels, np.concatenate(served))
            self.state.slices.add(window, scores)
        self._on_window(self._account.window(step.window, record, self._cost, self._behind))

    def _feed(self) -> AbstractContextManager[Feed]:
        return feed(
            self.log,
            self.state.cursors.state,
            follow=self.config.follow,
            device=self.state.learner.device,
            clock=self._clock,
            sampled=sampling(self.config.behind),
        )

    def _open(self) -> None:
        """Take up the last checkpoint, or begin."""
        run, learner = self.config.run, self.state.learner
        values = self.config.to_dict() | {
            "device": learner.device.type,
            "features": self.log.spec.fingerprint,
        }
        settle_config(run, values, RESULT_FREE)
        self._journal = Journal(run / JOURNAL, run.name)
        self._checkpoints = Checkpoints(run / CHECKPOINTS, self.config.checkpoint.keep)
        if self._take_up(self._clock):
            log.info("%s: going on from step %d", run, self.state.progress.step)
        log.info("%s: embedding tables: %s", run, learner.tables.storage)
        self._account.rollback()
        self._hold()

    def _hold(self) -> None:
        """Tell a log that is still written what this run has learned for good.

        One window less: going on from a checkpoint looks at the last one again.
        """
        if self.config.follow:
            until = self.state.cursors.state.learned_until - self.log.header.window_ms
            self.log.hold(reader_name(self.config.run), max(0, until))

    def _take_up(self, *clock: Stateful) -> bool:
        """Bring the state, which is fresh, to the last checkpoint; False where there is none.

        Arguments: ``clock`` is set back too, if given.
        """
        state = self.state
        self._account = Account(self._journal, self._clock, state)
        saved = self._checkpoints.load()
        if saved is None:
            torch.manual_seed(part_seed(self.config.seed, "training"))
            self._journal.restart()
            self._account.start(self.config, self.log.spec)
        else:
            for name, part in self._parts().items():
                if part is not self._clock or clock:
                    restore(part, name, saved, self._checkpoints.folder)
            state.learner.slow_down(state.setbacks.rate)
        self._cost = state.learner.cost
        return saved is not None

    def _go_back(self, error: DivergedError) -> None:
        """To the last checkpoint, or the beginning, and on from there at lower rates.

        That it has come to this is saved into the checkpoint before anything is learned from it.

        Raises:
            RunError: the run has gone back there too often.
        """
        self.state = RunState(self.config, self.log)
        self._take_up()
        state = self.state
        try:
            state.setbacks.add(state.progress.step, self._window_end, error)
        except RunError:
            self._account.rollback()
            raise
        state.learner.slow_down(state.setbacks.rate)
        self._save()
        self._account.rollback()
        log.warning(
            "%s: window %d: %s; going back to step %d, learning rates x %g from there",
            self.config.run,
            self._window_end,
            error,
            state.progress.step,
            state.setbacks.rate,
        )

    def _parts(self) -> dict[str, Stateful]:
        """Everything that decides what happens next, in the order in which it is restored."""
        return self.state.parts() | {"clock": self._clock, "journal": self._journal}

    def _save_if_due(self) -> None:
        if self.state.progress.windows % self.config.checkpoint.every_windows == 0:
            self._save()

    def _save(self) -> Path:
        with self._clock.phase("checkpoint"):
            broken = self.state.learner.not_finite()
            if broken:  # a checkpoint is what one can go back to
                raise DivergedError(f"values are not finite in {broken}")
            self._journal.sync()
            saved = self._checkpoints.save(self.state.progress.step, self._parts())
            self._hold()
            return saved

    def _finish(self) -> Figures:
        kept = sum(file.stat().st_size for file in self._save().iterdir())
        summary = self._account.end(self._cost, kept)
        self._journal.close()
        write_json(self.config.run / SUMMARY, {"run": self._journal.run, **summary})
        return summary
