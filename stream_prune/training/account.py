"""What a run writes into its journal, line by line."""

from __future__ import annotations

from collections.abc import Sequence

from stream_prune.features import FeatureSpec
from stream_prune.minibatch.reader import Window
from stream_prune.sparsity.cost import Cost
from stream_prune.sparsity.events import Event
from stream_prune.training import figures
from stream_prune.training.clock import Clock
from stream_prune.training.config import TrainingConfig
from stream_prune.training.figures import Figures
from stream_prune.training.journal import CLOCK, Journal
from stream_prune.training.run_state import RunState


class Account:
    """The lines of one run's journal, keyed by the run's step.

    Args:
        journal: where they go.
        clock: what writing takes is counted there.
        state: the run as it is.
    """

    def __init__(self, journal: Journal, clock: Clock, state: RunState) -> None:
        self.journal = journal
        self._clock, self._state = clock, state

    def start(self, config: TrainingConfig, spec: FeatureSpec) -> None:
        """The first line: what is trained, on what."""
        self.line("start", figures.start(config, spec, self._state.learner))

    def window(self, window: Window, record: Figures, cost: Cost, behind: int) -> Figures:
        """A window has been judged: its figures, and the model's at this moment.

        Arguments: ``behind``: windows that wait in the log, committed and not yet scored.
        """
        seconds = {"seconds": self._clock.total, "learning": self._clock.learning}
        line = {
            "window_end": window.end,
            **_sampled(window),
            **record,
            **figures.now(self._state.learner, cost),
            CLOCK: seconds | {"behind": behind},
        }
        self.line("window", line)
        return line

    def skipped(self, window: Window) -> None:
        """Of a window that was sampled nothing was read."""
        self.line("skipped", {"window_end": window.end, **_sampled(window)})

    def events(self, events: Sequence[Event]) -> None:
        """What was done to the model."""
        for event in events:
            record = event.record()
            kind, seconds = record.pop("kind"), record.pop("seconds")
            self._state.progress.happened(kind)
            self.line(kind, record | {CLOCK: {"seconds": seconds}})

    def churn(self) -> None:
        """Rows that came and went in every table since the line before."""
        churn = self._state.learner.tables.churn().items()
        tables = {name: {"admitted": new, "evicted": old} for name, (new, old) in churn}
        self.line("churn", {"tables": tables})

    def slices(self) -> None:
        """Figures of every slice over all rows so far, where slices were asked for."""
        found = self._state.slices.figures.figures()
        if found:
            self.line("slices", {"columns": found})

    def rollback(self) -> None:
        """Why the run is where it is, if it has gone back to this point.

        The checkpoint ends before this line, so whoever takes that up writes it again.
        """
        setbacks = self._state.setbacks
        if setbacks.step == self._state.progress.step:
            self.line("rollback", setbacks.record())

    def end(self, cost: Cost, checkpoint_bytes: int) -> Figures:
        """The last line: what came of it all. Arguments: bytes of the last checkpoint."""
        state, progress = self._state, self._state.progress
        counted = progress.figures()
        slices = state.slices.figures.figures()
        clock = self._clock.figures(progress.rows_learned, progress.late_rows)
        summary = {
            **state.prequential.summary(),
            **({} if state.served is None else {"served": state.served.summary()}),
            **({"slices": slices} if slices else {}),
            **counted,
            **figures.with_lookups(state.learner, counted),
            "rollbacks": state.setbacks.total,
            "pending_windows": len(state.cursors.state.pending),
            **figures.end(state.learner, cost),
            CLOCK: clock | {"checkpoint_bytes": checkpoint_bytes},
        }
        self.line("end", summary)
        return summary

    def line(self, kind: str, record: Figures) -> None:
        with self._clock.phase("journal"):
            self.journal.write(self._state.progress.step, kind, record)


def _sampled(window: Window) -> Figures:
    """What was read of a window, where that is not all of it."""
    return {} if window.share == 1 else {"share": window.share, "rows_skipped": window.skipped}


def dropped(steps: int, *, rows: int, event_time: int, macs: int) -> tuple[Event, ...]:
    """Records of dropped optimizer steps, of a model that nothing resizes.

    Args:
        steps: how many.
        rows: examples learned so far.
        event_time: of the batch, ms.
        macs: per example (inference).
    """
    event = Event(
        kind="dropped",
        rows=rows,
        event_time=event_time,
        trigger="gradients",
        severity=None,
        value=None,
        density_before=1.0,
        density_after=1.0,
        macs_before=macs,
        macs_after=macs,
        plan_before={},
        plan={},
        rate=1.0,
        seconds=0.0,
    )
    return (event,) * steps
