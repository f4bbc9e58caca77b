"""How often a run has gone back to a checkpoint because it had diverged, and what it changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from stream_prune.errors import DivergedError
from stream_prune.stateful import State

MOST = 2
"""Times that a run goes back to one and the same checkpoint."""
SLOWER = 0.5
"""Factor of all learning rates at every setback."""


@dataclass
class Setbacks:
    """Saved into the checkpoint that a run goes back to, before it goes on from there.

    So a run that is killed and started again takes the same turns at the same places, and ends
    with the same bits: a function of the log, the configuration, the seed, and (only where a run
    diverges) of where its checkpoints are.

    Attributes:
        total: since the start of the run.
        step: of the checkpoint that the last one led back to.
        times: how often to that checkpoint.
        rate: multiplier of the learning rates from then on.
        window_end: of the window in which the run had diverged.
        reason: what was seen.
    """

    total: int = 0
    step: int = -1
    times: int = 0
    rate: float = 1.0
    window_end: int = 0
    reason: str = ""

    def add(self, step: int, window_end: int, error: DivergedError) -> None:
        """The run goes back to the checkpoint of ``step``.

        Raises:
            DivergedError: it has been there too often.
        """
        times = self.times + 1 if self.step == step else 1
        if times > MOST:
            raise DivergedError(
                f"window {window_end}: {error}. The run has gone back to its checkpoint of step "
                f"{step} {MOST} times, has halved its learning rates each time (now x "
                f"{self.rate:g}) and diverges again: lower optimizer.lr and optimizer.rows_lr, or "
                "look for absurd values in the rows before this window, and train into a new run "
                "folder"
            ) from error
        self.total, self.step, self.times = self.total + 1, step, times
        self.rate *= SLOWER
        self.window_end, self.reason = window_end, str(error)

    def record(self) -> dict[str, Any]:
        """The journal's line."""
        return {"trigger": "diverged", **asdict(self)}

    def state_dict(self) -> State:
        return asdict(self)

    def load_state_dict(self, state: State) -> None:
        for name, value in state.items():
            setattr(self, name, value)
