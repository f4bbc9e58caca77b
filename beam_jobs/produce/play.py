"""Plays a historical log into a topic, and says to the last message what it sent."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.produce.ledger import Ledger
from beam_jobs.produce.log import PlayedLog, Stretch
from beam_jobs.produce.messages import MessageWriter, cut_short, keys_of, partitions_of
from beam_jobs.produce.open_sender import open_sender
from beam_jobs.produce.options import ProduceOptions
from beam_jobs.produce.pace import due_by_rate, due_by_speed
from beam_jobs.produce.plan import CORRUPT, INVALID, KINDS, Plan, Planner
from beam_jobs.produce.sender import Sender
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec

AT_ONCE = 8192
"""Most messages that are handed to the client together."""

_GLANCE_S = 0.02


@dataclass
class Sent:
    """How far it is.

    ``counts``: messages by what a job must make of them; ``displaced``: good or late ones that were
    sent out of turn; ``skipped``: rows of the log that have no event time, which were not sent.
    """

    messages: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    partitions: dict[int, int] = field(default_factory=dict)
    displaced: int = 0
    skipped: int = 0
    event_time: int | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        told = " + ".join(f"{self.counts[name]:,} {name}" for name in KINDS)
        rate = self.messages / max(self.seconds, 1e-9)
        return (
            f"{self.messages:,} messages in {self.seconds:.1f} s ({rate:,.0f} a second) = {told}; "
            f"{self.displaced:,} out of turn, {self.skipped:,} rows without an event time not sent"
        )


def play(
    log: PlayedLog,
    spec: FeatureSpec,
    kafka: KafkaSettings,
    options: ProduceOptions,
    *,
    window_ms: int,
    out_of_orderness_ms: int,
    ledger: Path | None = None,
    schemas: Path | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[Sent], None] = lambda _: None,
) -> Sent:
    """Send a log's events; returns when all have arrived, or soon after ``stop`` is set.

    Args:
        log: the events.
        spec: their columns.
        kafka: where to, and with which client.
        options: how fast, in which form, with which faults.
        window_ms, out_of_orderness_ms: of the job that will read: what makes an event late.
        ledger: a Parquet file with a row for every message: what a job must make of it.
        schemas: a folder for the Avro schemas, ``ID.avsc`` each.
        stop: ends it early.
        progress: called now and then.

    Raises:
        ConfigError: options that do not go together.
        RunError: the broker does not take the messages, or the topic has others' among them.
    """
    _check(spec, options, out_of_orderness_ms)
    topic = options.topic or kafka.topics[0]
    writer = MessageWriter(spec, options.format, options.schema_id)
    if schemas is not None:
        schemas.mkdir(parents=True, exist_ok=True)
        for number, schema in writer.schemas.items():
            (schemas / f"{number}.avsc").write_text(json.dumps(schema, indent=1), encoding="utf-8")
    sender = open_sender(kafka)
    try:
        sender.make_topic(topic, options.partitions)
        before = sender.ends(topic)
        planner = Planner(
            *(options.faults, window_ms, out_of_orderness_ms, len(before), options.seed)
        )
        player = _Player(sender, topic, options, writer, planner, log.rows, before, progress, stop)
        with Ledger(ledger, before) as book:
            for stretch in log.stretches():
                if not player.play(stretch, book):
                    break
                player.sent.skipped = log.skipped
        sender.flush()
        player.sent.seconds = time.monotonic() - player.started
        progress(player.sent)
        _check_arrival(topic, before, sender.ends(topic), player.sent.partitions)
        return player.sent
    finally:
        sender.close()


class _Player:
    """Sends stretch after stretch when each message is due."""

    def __init__(
        self,
        sender: Sender,
        topic: str,
        options: ProduceOptions,
        writer: MessageWriter,
        planner: Planner,
        rows: int,
        before: list[int],
        progress: Callable[[Sent], None],
        stop: threading.Event | None,
    ) -> None:
        self._sender, self._topic, self._options, self._rows = sender, topic, options, rows
        self._writer, self._planner, self._partitions = writer, planner, len(before)
        self._progress, self._stop = progress, stop or threading.Event()
        self._rng = np.random.default_rng(options.seed + 1)
        change = options.faults.schema_change
        self._change = sys.maxsize if change is None else int(change * rows)
        self._first_time: int | None = None
        self.started = time.monotonic()
        self.sent = Sent()

    def play(self, stretch: Stretch, book: Ledger) -> bool:
        """Send a stretch; False if it was stopped in the middle."""
        keys = keys_of(stretch.rows, self._options.key)
        spread = partitions_of(keys, stretch.first, len(stretch.times), self._partitions)
        self._silence(spread, stretch.first)
        plan = self._planner.plan(stretch.times, spread)
        due = self._due(stretch.times[plan.row])
        start = 0
        while start < len(due):
            now = time.monotonic() - self.started
            end = min(int(np.searchsorted(due, now, side="right")), start + AT_ONCE)
            if (left := self._change - self.sent.messages) > 0:  # one schema in a batch
                end = min(end, start + left)
            if end == start:
                self._stop.wait(min(due[start] - now, _GLANCE_S))
            else:
                self._send(stretch, plan, keys, slice(start, end), book)
                start = end
            if self._stop.is_set():
                return False
        return True

    def _silence(self, partition: npt.NDArray[np.int64], first: int) -> None:
        """Give the events of the idle partition to the next one, in place."""
        idle = self._options.faults.idle
        if idle.partition is None:
            return
        share = np.arange(first, first + len(partition)) / self._rows
        quiet = (partition == idle.partition) & (share >= idle.start) & (share < idle.stop)
        partition[quiet] = (idle.partition + 1) % self._partitions

    def _due(self, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        options = self._options
        if self._first_time is None:
            self._first_time = int(times[0])
        if options.rate is not None:
            bursts = options.faults.bursts
            return due_by_rate(self.sent.messages, len(times), options.rate, bursts)
        if options.speed is not None:
            return due_by_speed(times, self._first_time, options.speed)
        return np.zeros(len(times))

    def _send(
        self, stretch: Stretch, plan: Plan, keys: pa.Array | None, part: slice, book: Ledger
    ) -> None:
        rows, kind, partition = plan.row[part], plan.kind[part], plan.partition[part]
        batch = stretch.rows.take(pa.array(rows))
        changed = self.sent.messages >= self._change
        values = list(self._writer.write(batch, kind == INVALID, changed))
        corrupt = np.flatnonzero(kind == CORRUPT)
        if len(corrupt):
            values = cut_short(values, corrupt, self._rng)
        key_values = (
            None if keys is None else keys.take(pa.array(rows)).cast(pa.binary()).to_pylist()
        )
        for p in np.unique(partition).tolist():
            at = np.flatnonzero(partition == p).tolist()
            own_keys = None if key_values is None else [key_values[i] for i in at]
            self._sender.send(self._topic, p, [values[i] for i in at], own_keys)
            self.sent.partitions[p] = self.sent.partitions.get(p, 0) + len(at)
        book.add(partition, stretch.first + rows, kind, plan.displaced[part])
        self._count(kind, plan.displaced[part], int(stretch.times[rows[-1]]))

    def _count(
        self, kind: npt.NDArray[np.int64], displaced: npt.NDArray[np.bool_], event_time: int
    ) -> None:
        for name, count in zip(KINDS, np.bincount(kind, minlength=len(KINDS)), strict=True):
            self.sent.counts[name] += int(count)
        self.sent.messages += len(kind)
        self.sent.displaced += int(displaced.sum())
        self.sent.event_time = event_time
        self.sent.seconds = time.monotonic() - self.started
        self._progress(self.sent)


def _check(spec: FeatureSpec, options: ProduceOptions, out_of_orderness_ms: int) -> None:
    faults = options.faults
    if faults.duplicates and spec.event_key is None:
        raise ConfigError(
            f"produce.faults.duplicates = {faults.duplicates}: a job finds them by the event key: "
            "name features.event_key"
        )
    if faults.disorder and not out_of_orderness_ms:
        raise ConfigError(
            f"produce.faults.disorder = {faults.disorder}: needs windows.out_of_orderness: without "
            "it every event out of turn may be late"
        )


def _check_arrival(
    topic: str, before: list[int], after: list[int], sent: Mapping[int, int]
) -> None:
    for partition, start in enumerate(before):
        there, mine = after[partition] - start, sent.get(partition, 0)
        if there != mine:
            raise RunError(
                f"{topic}, partition {partition}: {mine:,} messages were sent, but it grew by "
                f"{there:,}: another producer writes to it: use a topic of your own"
            )
