"""Where the two cursors are, and the scores that wait between them for their labels."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.reader import CursorState, Learn, Score
from stream_prune.stateful import State

Scores = npt.NDArray[np.float32]


class Cursors:
    """The cursors' state of a trainer, checkpointed with the waiting scores."""

    def __init__(self, log: MiniBatchLog) -> None:
        self._log = log
        self.state = CursorState()
        self._waiting: deque[Scores] = deque()

    def scored(self, step: Score, scores: Scores) -> None:
        """A window was scored: its probabilities [rows] wait from now on."""
        self.state = self.state.after(step)
        self._waiting.append(scores)

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
            "rows": torch.tensor([len(scores) for scores in self._waiting], dtype=torch.int64),
            "scores": torch.from_numpy(np.concatenate([*self._waiting, np.empty(0, np.float32)])),
        }

    def load_state_dict(self, state: State) -> None:
        """Raises RunError where the log does not hold the windows that were read from it."""
        scored, learned = state["scored_until"], state["learned_until"]
        rows, scores = state["rows"], state["scores"]
        assert isinstance(scored, int)
        assert isinstance(learned, int)
        assert isinstance(rows, torch.Tensor)
        assert isinstance(scores, torch.Tensor)
        self.state = CursorState.restore(self._log, scored, learned)
        ends = rows.cumsum(0).numpy()
        self._waiting = deque(np.split(scores.numpy().copy(), ends)[: len(ends)])
