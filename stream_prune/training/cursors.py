"""Where the two cursors are, and the scores that wait between them for their labels."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import RunError
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import CursorState, Learn, Score, Window, windows
from stream_prune.stateful import State

Floats = npt.NDArray[np.float32]


class Scores(NamedTuple):
    """What was thought of some rows at their event time.

    Attributes:
        own: the deployed model's probabilities [rows].
        reference: the companion's [rows]; NaN where it gave none, empty without a companion.
    """

    own: Floats
    reference: Floats

    def part(self, start: int, labelled: npt.NDArray[np.bool_]) -> Scores:
        """Those of the labelled rows among the rows from ``start`` on."""
        end = start + len(labelled)
        own, reference = self.own[start:end], self.reference[start:end]
        return Scores(own[labelled], reference[labelled] if len(reference) else reference)

    @property
    def compared(self) -> Floats | None:
        """The companion's, where it gave all of them."""
        known = len(self.reference) > 0 and bool(np.isfinite(self.reference).all())
        return self.reference if known else None


class Cursors:
    """The cursors' state of a trainer, checkpointed with the waiting scores.

    Arguments: ``compared``: there is a companion, which scores every window too.
    """

    def __init__(self, log: MiniBatchLog, *, compared: bool = False) -> None:
        self._log = log
        self._compared = compared
        self.state = CursorState()
        self._waiting: deque[Scores] = deque()
        self._last, self._last_share = "", 1.0

    def scored(self, step: Score, scores: Scores) -> None:
        """A window was scored: its probabilities wait from now on."""
        self.state = self.state.after(step)
        self._waiting.append(scores)
        self._last, self._last_share = _digest(step.window), step.window.share

    def waiting(self, step: Learn) -> Scores:
        """The probabilities that were given to a window at its event time."""
        scores = self._waiting[0]
        if len(scores.own) != step.window.rows:
            raise ValueError(f"{len(scores.own)} scores wait for {step.window.rows} rows")
        return scores

    def learned(self, step: Learn) -> None:
        """A window was evaluated and learned: its scores go."""
        self.state = self.state.after(step)
        self._waiting.popleft()

    def state_dict(self) -> State:
        return {
            **self.state.to_dict(),
            "last": self._last,
            "last_share": self._last_share,
            "shares": torch.tensor([w.share for w in self.state.pending], dtype=torch.float64),
            "ends": torch.tensor([w.end for w in self.state.pending], dtype=torch.int64),
            "rows": torch.tensor([len(scores.own) for scores in self._waiting], dtype=torch.int64),
            "scores": _joined([scores.own for scores in self._waiting]),
            "reference": _joined([scores.reference for scores in self._waiting]),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on in the same log.

        Raises:
            RunError: the log does not hold the windows that were read from it.
        """
        scored, learned = state["scored_until"], state["learned_until"]
        rows = state["rows"]
        assert isinstance(scored, int)
        assert isinstance(learned, int)
        assert isinstance(rows, torch.Tensor)
        ends, shares = state["ends"], state["shares"]
        assert isinstance(ends, torch.Tensor)
        assert isinstance(shares, torch.Tensor)
        by_end = dict(zip(ends.tolist(), shares.tolist(), strict=True))
        self.state = CursorState.restore(self._log, scored, learned, by_end)
        self._last, share = str(state["last"]), state["last_share"]
        assert isinstance(share, float)
        self._last_share = share
        self._check_log(scored)
        own = _parted(state["scores"], rows)
        reference = _parted(state["reference"], rows if self._compared else rows * 0)
        self._waiting = deque(map(Scores, own, reference))

    def _check_log(self, scored_until: int) -> None:
        """See that the window that was scored last is still the same."""
        window = next(windows(self._log, after=scored_until - 1), None) if scored_until else None
        if window is not None:
            window = window.sample(self._last_share)
        if scored_until and (window is None or _digest(window) != self._last):
            raise RunError(
                f"the log's window {scored_until} is not the one that this run has scored: "
                "it is another log; give the run its own log, or start a new run folder"
            )


def _joined(waiting: list[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([*waiting, np.empty(0, np.float32)]))


def _parted(joined: object, rows: torch.Tensor) -> list[Floats]:
    assert isinstance(joined, torch.Tensor)
    ends = rows.cumsum(0).numpy()
    return np.split(joined.numpy().copy(), ends)[: len(ends)]


def _digest(window: Window) -> str:
    """Of the window's name and of every row in it."""
    content = repr((window.end, [(str(name), ref.digest) for name, ref in window.batches]))
    return hashlib.sha256(content.encode()).hexdigest()
