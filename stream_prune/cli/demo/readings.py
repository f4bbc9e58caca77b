"""How far each part of a running stream is, read from what it leaves behind: topics, commits,
the journal, the server. Nothing here asks a process to tell of itself.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stream_prune.errors import RunError

if TYPE_CHECKING:
    from stream_prune.minibatch.log import MiniBatchLog
    from stream_prune.minibatch.place import LogPlace
    from stream_prune.report.event_log import Event

RATE_OVER_S = 5.0
HISTORY = 240
"""Windows whose figures are kept for the curves."""


class Rate:
    """Events a second over the last :data:`RATE_OVER_S` seconds.

    >>> rate = Rate()
    >>> rate.at(0.0, 0), rate.at(1.0, 500), rate.at(2.0, 1500)
    (0.0, 500.0, 750.0)
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def at(self, seconds: float, count: int) -> float:
        """The rate, ``count`` events having come by now."""
        self._seen.append((seconds, count))
        while len(self._seen) > 2 and self._seen[1][0] <= seconds - RATE_OVER_S:
            self._seen.popleft()
        first = self._seen[0]
        return (count - first[1]) / (seconds - first[0]) if seconds > first[0] else 0.0


class TopicEnds:
    """How many events the topics hold."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        from kafka import KafkaConsumer

        # A broker that is away shows in the figures; the client would tell it line by line.
        logging.getLogger("kafka").setLevel(logging.CRITICAL)
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap.split(","), enable_auto_commit=False
        )
        self._topics = topics

    def read(self) -> int:
        """Events of all partitions; 0 while there is no topic, or no answer."""
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        try:
            places = [
                TopicPartition(topic, partition)
                for topic in self._topics
                for partition in self._consumer.partitions_for_topic(topic) or ()
            ]
            return sum(self._consumer.end_offsets(places).values()) if places else 0
        except KafkaError:
            return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()


@dataclass
class Committed:
    """What the mini-batch log holds; ``read``: events that a commit covers."""

    counts: Counter[str] = field(default_factory=Counter)
    window_end: int | None = None
    windows: int = 0
    read: int = 0
    ended: bool = False


class LogReading:
    """Follows the commits of a mini-batch log of one shard."""

    def __init__(self, place: LogPlace) -> None:
        self._place, self._next = place, 0
        self._log: MiniBatchLog | None = None
        self.now = Committed()

    def read(self) -> Committed:
        """With the commits that have come since the last call."""
        from stream_prune.errors import ConfigError
        from stream_prune.minibatch.open_log import open_log

        if self._log is None:
            try:
                self._log = open_log(self._place)
            except (ConfigError, RunError):  # the job has not made it yet
                return self.now
        for number, commit in self._log.commits(0, self._next):
            self._next = number + 1
            self.now.counts.update(commit.counts)
            self.now.window_end, self.now.ended = commit.window_end, commit.end
            self.now.windows += 1
            self.now.read = sum(commit.closed_at.values())
        return self.now


@dataclass
class Trained:
    """What the journal says.

    ``density``: MACs over the dense model's; ``events``: of :mod:`stream_prune.report.event_log`.
    """

    window_end: int | None = None
    rows: int = 0
    ne: float | None = None
    auc: float | None = None
    density: float | None = None
    rows_used: int = 0
    alarms: int = 0
    events: list[Event] = field(default_factory=list)
    ne_history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    density_history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))


class JournalReading:
    """Follows the journal of a run; one that was cut back to a checkpoint is read anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._position, self._dense = 0, 0
        self._lines: list[dict[str, Any]] = []
        self.now = Trained()

    def read(self) -> Trained:
        """With the lines that have come since the last call."""
        from stream_prune.report.event_log import NOT_EVENTS, event_lines

        for line in self._new_lines():
            if line["kind"] == "start":
                self._dense = line.get("dense_macs_inference") or 0
            elif line["kind"] == "window":
                self._add_window(line)
            if line["kind"] not in NOT_EVENTS:
                self._lines.append(line)
                self.now.alarms += line["kind"] == "drift"
                self.now.events = list(event_lines(self._lines, str(self._path)))[-4:]
        return self.now

    def _new_lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._position:
                    self._forget()
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._position += len(line)
                    yield json.loads(line)
        except FileNotFoundError:
            return

    def _add_window(self, line: dict[str, Any]) -> None:
        now = self.now
        now.window_end, now.rows = line["window_end"], now.rows + line["rows"]
        now.ne = line["ne_cumulative"] if line["ne_cumulative"] is not None else now.ne
        now.auc = line["sliding_auc"] if line.get("sliding_auc") is not None else now.auc
        now.rows_used = sum(line["rows_used"].values())
        if self._dense:
            now.density = line["macs_inference"] / self._dense
            now.density_history.append(now.density)
        if now.ne is not None:
            now.ne_history.append(now.ne)


class ServerReading:
    """The version that a server answers with."""

    def __init__(self, address: str, model: str) -> None:
        self._url = f"{address}/v2/models/{model}"

    def read(self) -> str | None:
        """None while it does not answer."""
        try:
            with urllib.request.urlopen(self._url, timeout=0.5) as answer:
                versions = json.load(answer).get("versions") or ["?"]
        except (urllib.error.URLError, OSError, ValueError):
            return None
        return str(versions[-1])


@dataclass
class Reading:
    """The whole stream at one moment; times in s since the start, event times in ms."""

    seconds: float
    sent: int
    sent_rate: float
    committed: Committed
    committed_rate: float
    trained: Trained
    version: str | None

    @property
    def lag(self) -> int:
        """Events in the topics that no committed window covers yet."""
        return max(0, self.sent - self.committed.read)


class Readings:
    """All of it together."""

    def __init__(
        self, topics: TopicEnds, log: LogReading, journal: JournalReading, server: ServerReading
    ) -> None:
        self._topics, self._log, self._journal, self._server = topics, log, journal, server
        self._sent, self._committed = Rate(), Rate()
        self._started = time.monotonic()

    def read(self) -> Reading:
        """The state now."""
        sent, committed, trained = self._topics.read(), self._log.read(), self._journal.read()
        seconds = time.monotonic() - self._started
        return Reading(
            seconds,
            sent,
            self._sent.at(seconds, sent),
            committed,
            self._committed.at(seconds, committed.read),
            trained,
            self._server.read(),
        )
