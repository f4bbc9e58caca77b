"""Where the two cursors are, and the scores that wait between them for their labels."""

from __future__ import annotations

import hashlib
from collections import deque

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import RunError
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import CursorState, Learn, Score, Window, windows
from stream_prune.stateful import State

Scores = npt.NDArray[np.float32]


class Cursors:
    """The cursors' state of a trainer, checkpointed with the waiting scores."""

    def __init__(self, log: MiniBatchLog) -> None:
        self._log = log
        self.state = CursorState()
        self._waiting: deque[Scores] = deque()
        self._last = ""

    def scored(self, step: Score, scores: Scores) -> None:
        """A window was scored: its probabilities [rows] wait from now on."""
        self.state = self.state.after(step)
        self._waiting.append(scores)
        self._last = _digest(step.window)

    def waiting(self, step: Learn) -> Scores:
        """The probabilities [rows] that were given to a window at its event time."""
        scores = self._waiting[0]
        if len(scores) != step.window.rows:
            raise ValueError(f"{len(scores)} scores wait for {step.window.rows} rows")
        return scores

    def learned(self, step: Learn) -> None:
        """A window was evaluated and learned: its scores go."""
        self.state = self.state.after(step)
        self._waiting.popleft()

    def state_dict(self) -> State:
        return {
            **self.state.to_dict(),
            "last": self._last,
            "rows": torch.tensor([len(scores) for scores in self._waiting], dtype=torch.int64),
            "scores": torch.from_numpy(np.concatenate([*self._waiting, np.empty(0, np.float32)])),
        }

    def load_state_dict(self, state: State) -> None:
        """Go on in the same log.

        Raises:
            RunError: the log does not hold the windows that were read from it.
        """
        scored, learned = state["scored_until"], state["learned_until"]
        rows, scores = state["rows"], state["scores"]
        assert isinstance(scored, int)
        assert isinstance(learned, int)
        assert isinstance(rows, torch.Tensor)
        assert isinstance(scores, torch.Tensor)
        self.state = CursorState.restore(self._log, scored, learned)
        self._last = str(state["last"])
        self._check_log(scored)
        ends = rows.cumsum(0).numpy()
        self._waiting = deque(np.split(scores.numpy().copy(), ends)[: len(ends)])

    def _check_log(self, scored_until: int) -> None:
        """See that the window that was scored last is still the same."""
        window = next(windows(self._log, after=scored_until - 1), None) if scored_until else None
        if scored_until and (window is None or _digest(window) != self._last):
            raise RunError(
                f"the log's window {scored_until} is not the one that this run has scored: "
                "it is another log; give the run its own log, or start a new run folder"
            )


def _digest(window: Window) -> str:
    """Of the window's name and of every row in it."""
    content = repr((window.end, [(str(name), ref.digest) for name, ref in window.batches]))
    return hashlib.sha256(content.encode()).hexdigest()
