"""What a run does that falls behind its log: it learns from a sample until it is abreast again.

How far behind a run is depends on the wall clock, so its choices are recorded: the journal has the
share of every window that was sampled, and a run that replays them ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stream_prune.errors import ConfigError
from stream_prune.minibatch.reader import Window
from stream_prune.training.journal import read
from stream_prune.training.ranges import at_least
from stream_prune.training.run_folder import JOURNAL


@dataclass(frozen=True)
class BehindConfig:
    """When a run samples, and how much.

    Attributes:
        windows: that wait, committed and unread, from which on it is behind.
        share: of the batches that are scored and learned while it is behind; which ones, a hash of
            their names says.
        replay: the folder of a run whose choices are taken instead of making any.
    """

    windows: int = 10
    share: float = 0.25
    replay: Path | None = None

    def __post_init__(self) -> None:
        at_least(1, windows=self.windows)
        if not 0 < self.share < 1:
            raise ConfigError(f"share = {self.share}: must be in (0, 1)")


def sampling(config: BehindConfig | None) -> Callable[[Window], Window]:
    """From a window as it is in the log to what is read of it.

    Raises:
        RunError: the journal to be replayed can't be read.
        ConfigError: there is none.
    """
    if config is None:
        return lambda window: window
    if config.replay is not None:
        chosen = recorded(config.replay)
        return lambda window: window.sample(chosen.get(window.end, 1.0))
    return lambda window: window.sample(config.share if window.behind >= config.windows else 1.0)


def recorded(run: Path) -> Mapping[int, float]:
    """The shares by which a run sampled windows, by their ends.

    Raises:
        ConfigError: there is no such run.
    """
    if not (run / JOURNAL).is_file():
        raise ConfigError(f"behind.replay = {str(run)!r}: no run is there: name a run folder")
    return {
        int(line["window_end"]): float(line["share"])
        for line in read(run / JOURNAL)
        if line["kind"] in ("window", "skipped") and line.get("share", 1.0) < 1
    }
