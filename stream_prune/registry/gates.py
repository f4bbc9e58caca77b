"""What a new model must hold before the champion's alias moves to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stream_prune.artifact import Scorer
from stream_prune.artifact.encoded import inputs_of
from stream_prune.artifact.latency import single_event_ms
from stream_prune.artifact.recent import JudgedWindow, from_metrics, ne_of
from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.entropy import losses
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import windows


class Refused(RunError):  # noqa: N818  a verdict, not a fault
    """A model that was registered, and that a gate keeps from becoming candidate or champion."""


@dataclass(frozen=True)
class Gates:
    """Limits for a model that is to become champion.

    Args:
        ne_tolerance: how much worse than the champion's its normalized entropy may be, as a share
            of the champion's.
        windows: compared on so many last windows (at most 50, those that an artifact carries).
        max_bytes: of the artifact; None: any size.
        max_latency_ms: for one event on one thread, median; None: any.

    Raises:
        ConfigError: a value out of its range, by name.
    """

    ne_tolerance: float = 0.01
    windows: int = 50
    max_bytes: int | None = None
    max_latency_ms: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.ne_tolerance < float("inf"):
            raise ConfigError(
                f"publish.gates.ne_tolerance = {self.ne_tolerance}: must be 0 or more"
            )
        if not 1 <= self.windows <= 50:
            raise ConfigError(f"publish.gates.windows = {self.windows}: must be 1 to 50")
        for name in ("max_bytes", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"publish.gates.{name} = {value}: must be more than 0, or left out"
                )


def check_cost(gates: Gates, candidate: Scorer) -> None:
    """Size and latency within their limits.

    Raises:
        Refused: one is not, by how much, and what to do.
    """
    size = candidate.manifest.size
    if gates.max_bytes is not None and size > gates.max_bytes:
        raise Refused(
            f"its artifact has {size:,} bytes, publish.gates.max_bytes allows {gates.max_bytes:,}: "
            "store rows as int8 (artifact.rows), lower the budget, or raise the limit"
        )
    if gates.max_latency_ms is not None:
        latency = single_event_ms(candidate)
        if latency > gates.max_latency_ms:
            raise Refused(
                f"it takes {latency:.3f} ms for one event, publish.gates.max_latency_ms allows "
                f"{gates.max_latency_ms:g}: lower the budget, or raise the limit"
            )


def check_quality(
    gates: Gates, candidate: Scorer, champion: Scorer, log: MiniBatchLog | None
) -> None:
    """Normalized entropy on the same windows, each scored before it was learned.

    The candidate's are those that its run has journaled, and so are the champion's of windows that
    it has learned itself. Windows of events after the last label that it has learned was known are
    scored with it now; those in between can't be had fairly, and are left out. Of one run's models
    only what was scored since the champion is compared, if there is anything.

    Args:
        gates: the tolerance, and how many windows.
        candidate: the new model.
        champion: what serving follows now.
        log: the mini-batch log that the candidate was trained on; None: only windows that both
            have journaled.

    Raises:
        Refused: the candidate is worse than allowed, or there is nothing to compare by.
    """
    ours = from_metrics(candidate.card.metrics)[-gates.windows :]
    theirs = _judged(champion, ours, log)
    pairs = [(mine, theirs[mine.end]) for mine in ours if mine.end in theirs]
    pairs = [pair for pair in pairs if pair[0] != pair[1]] or pairs
    if not pairs:
        raise Refused(
            "there is no window that both it and the champion have scored before learning it: "
            f"the champion is from {_origin(champion)}; promote it by hand if it should be"
        )
    found, wanted = (ne_of([pair[i] for pair in pairs]) for i in (0, 1))
    if found is None or wanted is None:
        raise Refused(
            f"the last {len(pairs)} windows have labels of one kind only: no normalized entropy to "
            "compare by; raise publish.gates.windows"
        )
    if found > wanted * (1 + gates.ne_tolerance):
        raise Refused(
            f"its normalized entropy is {found:.4f}, the champion's {wanted:.4f} on the same "
            f"{len(pairs)} windows ({sum(pair[0].labelled for pair in pairs):,} labelled rows): "
            f"worse by {found / wanted - 1:.2%}, publish.gates.ne_tolerance allows "
            f"{gates.ne_tolerance:.2%}"
        )


def _judged(
    champion: Scorer, ours: Sequence[JudgedWindow], log: MiniBatchLog | None
) -> dict[int, JudgedWindow]:
    """The champion on the candidate's windows, where a fair figure of it can be had."""
    wanted = {window.end: window for window in ours}
    found = {
        window.end: window
        for window in from_metrics(champion.card.metrics)
        if window.end in wanted and window.labelled == wanted[window.end].labelled
    }
    learned = champion.card.lineage.window_end
    if log is not None and learned is not None:
        if log.spec.fingerprint != champion.card.spec.fingerprint:
            raise Refused(
                "the champion has other features, so it can't be scored on this log; promote the "
                "new model by hand"
            )
        after = {end for end in wanted if end > learned + log.spec.label_delay_ms}
        found |= {window.end: window for window in _scored(champion, log, after)}
    return found


def _scored(champion: Scorer, log: MiniBatchLog, ends: set[int]) -> Iterator[JudgedWindow]:
    """The champion's figures on windows of a log."""
    if not ends:
        return
    for window in windows(log, after=min(ends) - 1):
        if window.end > max(ends):
            return
        if window.end not in ends:
            continue
        labelled, positives, loss = 0, 0, 0.0
        for name, ref in window.batches:
            batch = log.read(name, ref, log.spec)
            known = batch.labelled
            if known.any():
                logits = champion.logits_of(inputs_of(batch, log.spec))[known].astype(np.float64)
                labels = batch.label[known]
                loss += float(losses(labels, 1 / (1 + np.exp(-logits))).sum())
                labelled += len(labels)
                positives += int((labels > 0.5).sum())
        yield JudgedWindow(window.end, labelled, positives, loss)


def _origin(champion: Scorer) -> str:
    lineage = champion.card.lineage
    return f"run {lineage.run!r}, step {lineage.step}, log {lineage.log!r}"
