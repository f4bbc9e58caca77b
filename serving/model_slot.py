"""The place of the model being served: filled with verified models only, swapped in one step."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from stream_prune.artifact import Scorer
from stream_prune.errors import RunError

_WARM_UP_ROWS = (1, 1, 8, 32)


@dataclass(frozen=True)
class Served:
    """A model that may answer requests, and the version that its answers carry."""

    version: str
    scorer: Scorer


class ModelSlot:
    """Holds the served model and the one before it.

    A request takes :attr:`live` once and uses what it got to its end, so a swap between two
    requests is one assignment, and no answer mixes two versions.

    Args:
        name: the model's name in requests.
        threads: ONNX Runtime threads of one request's head.
    """

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name = name
        self.threads = threads
        self._live: Served | None = None
        self._previous: Served | None = None
        self._changing = threading.Lock()

    @property
    def live(self) -> Served | None:
        """The served model; None before the first load."""
        return self._live

    @property
    def previous(self) -> Served | None:
        """The model served before, kept for :meth:`roll_back`."""
        return self._previous

    def load(self, folder: str | Path, version: str) -> Served:
        """Load an artifact beside the live model, try it, and swap it in.

        Verifies every digest, scores the example and compares, then warms up. The live model goes
        on answering meanwhile, and stays if anything fails.

        Raises:
            RunError: the artifact is damaged or scores its example wrongly.
        """
        scorer = Scorer.load(folder, verify=True, threads=self.threads)
        scorer.check_example()
        _warm_up(scorer)
        served = Served(version, scorer)
        with self._changing:
            self._previous, self._live = self._live, served
        return served

    def roll_back(self) -> Served:
        """Swap back to the model served before; a second call swaps forth again.

        Raises:
            RunError: there is none.
        """
        with self._changing:
            earlier = self._previous
            if earlier is None:
                raise RunError(f"model {self.name!r}: no earlier version was served: can't go back")
            self._previous, self._live = self._live, earlier
            return earlier


def _warm_up(scorer: Scorer) -> None:
    """Score some batch sizes, so that the first requests don't pay for first-time allocations."""
    rows, _ = scorer.example()
    for size in _WARM_UP_ROWS:
        scorer.score(rows.slice(0, size).to_pydict())
