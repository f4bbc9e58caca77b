"""The place of the model being served: filled with verified models only, swapped in one step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving import memory
from serving.metrics import Metrics
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
        metrics: told of every swap and of every model that was refused.
    """

    def __init__(self, name: str, threads: int = 1, metrics: Metrics | None = None) -> None:
        self.name = name
        self.threads = threads
        self.metrics = metrics or Metrics()
        self._live: Served | None = None
        self._previous: Served | None = None
        self._changing = threading.Lock()
        memory.expect_swaps()

    @property
    def live(self) -> Served | None:
        """The served model; None before the first load."""
        return self._live

    @property
    def previous(self) -> Served | None:
        """The model served before, kept for :meth:`roll_back`."""
        return self._previous

    def version(self, version: str) -> Served | None:
        """The live or the previous model, by its version; None if it is neither."""
        held = (self._live, self._previous)
        return next((each for each in held if each is not None and each.version == version), None)

    @property
    def versions(self) -> list[str]:
        """What :meth:`version` knows, the live one first."""
        held = (self._live, self._previous)
        return list(dict.fromkeys(each.version for each in held if each is not None))

    def load(self, folder: str | Path, version: str) -> Served:
        """Load an artifact beside the live model, try it, and swap it in.

        Verifies every digest, scores the example and compares, then warms up. The live model goes
        on answering meanwhile, and stays if anything fails.

        Raises:
            RunError: the artifact is damaged or scores its example wrongly.
        """
        with self.refusing():
            scorer = Scorer.load(folder, verify=True, threads=self.threads)
            scorer.check_example()
            _warm_up(scorer)
        served = Served(version, scorer)
        self._swap(lambda: (served, self._live))
        self.metrics.rejected.set(0)
        memory.give_back()
        return served

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """A block in which a model is fetched or tried: where it fails, the alert is raised."""
        try:
            yield
        except Exception:
            self.metrics.rejected.set(1)
            self.metrics.rejections.inc()
            raise

    def roll_back(self) -> Served:
        """Swap back to the model served before; a second call swaps forth again.

        Raises:
            RunError: there is none.
        """

        def earlier() -> tuple[Served, Served | None]:
            if self._previous is None:
                raise RunError(f"model {self.name!r}: no earlier version was served: can't go back")
            return self._previous, self._live

        return self._swap(earlier)

    def _swap(self, change: Callable[[], tuple[Served, Served | None]]) -> Served:
        with self._changing:
            served, previous = change()
            self._live, self._previous = served, previous
            self.metrics.model.clear()
            self.metrics.model.labels(self.name, served.version).set(1)
            self.metrics.swapped_at.set_to_current_time()
            self.metrics.swaps.inc()
        return served


def _warm_up(scorer: Scorer) -> None:
    """Score some batch sizes, so that the first requests don't pay for first-time allocations."""
    rows, _ = scorer.example()
    for size in _WARM_UP_ROWS:
        scorer.score(rows.slice(0, size).to_pydict())
