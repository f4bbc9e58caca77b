"""What the streaming job is told, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from beam_jobs.decode import AVRO, JSON, Formats
from beam_jobs.join_options import JoinOptions
from beam_jobs.kafka_records import TOPIC_SPAN
from beam_jobs.kafka_settings import KafkaSettings
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.place import LogPlace
from stream_prune.minibatch.retention import Retention

WAIT, LEAVE, WALL_CLOCK = "wait", "leave", "wall_clock"
FOLDER, TOPIC = "folder", "topic"
IN_PROCESS, FLINK, DATAFLOW = "in_process", "flink", "dataflow"
RUNNERS = (IN_PROCESS, FLINK, DATAFLOW)

_REFUSED_RUNNERS = {
    "prism": "it was seen to lose rows without a word where a stage reads several partitions, and "
    "in some runs with timers",
    "direct": "it never emits what it groups of an unbounded source",
}


@dataclass(frozen=True)
class StreamOptions:
    """Topics, and how they become a mini-batch log.

    Attributes:
        kafka: which topics, and how to reach them.
        spec: the columns and what they mean.
        log: the mini-batch log; one that is there already is continued.
        window_ms, out_of_orderness_ms, batch_rows: as in a replay.
        max_jump_ms: how far an event time may lie after the time at which the broker took the
            event; where producers set the timestamps, after the rows before it in its partition.
        forms: whether messages are Avro or JSON, and their schemas.
        max_bad_share: share of invalid and undecodable events, among those of late, above which
            the job stops.
        idle: what a partition does that has been read to its end and gets nothing: ``wait`` holds
            windows open, ``leave`` holds none, ``wall_clock`` follows the clock on the wall.
        idle_ms: how long it must have got nothing; also what the wall clock is ahead of it.
        dead_letters: ``topic`` (the first topic's name and ``.dlq``), ``folder`` (the log's), or
            the name of a topic.
        epoch_ms, epoch_rows: a micro-epoch ends after so long or so many events.
        max_open_rows: rows in open windows from which on only partitions that hold windows open
            are read.
        runner: ``in_process`` (this machine, in micro-epochs), ``flink`` or ``dataflow``.
        runner_options: of a runner on a cluster, Beam's pipeline options, passed through.
        readers: on a cluster, how many read the partitions side by side.
        join: where labels come from, if not with the events; None: with the events.
        retention: how much of the log is kept; None: all.
    """

    kafka: KafkaSettings
    spec: FeatureSpec
    log: LogPlace
    window_ms: int
    out_of_orderness_ms: int = 0
    max_jump_ms: int = 30 * 86_400_000
    batch_rows: int = 4096
    forms: Formats = field(default_factory=Formats)
    max_bad_share: float = 0.01
    idle: str = WAIT
    idle_ms: int = 5_000
    dead_letters: str = TOPIC
    epoch_ms: int = 400
    epoch_rows: int = 100_000
    max_open_rows: int = 5_000_000
    runner: str = IN_PROCESS
    runner_options: Mapping[str, Any] = field(default_factory=dict)
    readers: int = 4
    join: JoinOptions | None = None
    retention: Retention | None = None

    def __post_init__(self) -> None:
        if self.forms.messages not in (AVRO, JSON):
            raise ConfigError(
                f"source.format = {self.forms.messages!r}: must be avro or json for topics"
            )
        if self.forms.messages == AVRO and self.forms.avro == type(self.forms.avro)():
            raise ConfigError(
                "source.avro: is missing: name a schema file (source.avro.schema), or a registry "
                "with framing: confluent"
            )
        for name, value, least in (
            ("windows.length", self.window_ms, 1),
            ("windows.out_of_orderness", self.out_of_orderness_ms, 0),
            ("windows.max_jump", self.max_jump_ms, 1),
            ("windows.batch_rows", self.batch_rows, 1),
            ("stream.idle_after", self.idle_ms, 1),
            ("stream.epoch", self.epoch_ms, 1),
            ("stream.epoch_rows", self.epoch_rows, 1),
            ("stream.max_open_rows", self.max_open_rows, 1),
            ("stream.readers", self.readers, 1),
        ):
            if value < least:
                raise ConfigError(f"{name} = {value}: must be {least} or more")
        if not 0 <= self.max_bad_share <= 1:
            raise ConfigError(f"max_bad_share = {self.max_bad_share}: must be in [0, 1]")
        if self.idle not in (WAIT, LEAVE, WALL_CLOCK):
            raise ConfigError(
                f"stream.idle = {self.idle!r}: must be {WAIT}, {LEAVE} or {WALL_CLOCK}"
            )
        if self.runner not in RUNNERS:
            why = _REFUSED_RUNNERS.get(self.runner.lower().removesuffix("runner"))
            told = f"is refused: {why}: " if why else ""
            allowed = f"{IN_PROCESS}, {FLINK} or {DATAFLOW}"
            raise ConfigError(f"stream.runner = {self.runner!r}: {told}must be {allowed}")
        if self.runner == IN_PROCESS and self.runner_options:
            raise ConfigError(
                "stream.runner_options: are those of a cluster: also say stream.runner: flink"
            )
        if self.join is not None:
            self._check_join(self.join)
        if self.letter_topic in self.reading.topics:
            raise ConfigError(
                f"stream.dead_letters = {self.dead_letters!r}: is one of the topics that are read"
            )

    def _check_join(self, join: JoinOptions) -> None:
        if not join.topics:
            raise ConfigError("join.topics = []: must name the topics of the clicks")
        later = () if join.conversions is None else join.conversions.topics
        if join.conversions is not None and not later:
            raise ConfigError("join.conversions.topics = []: must name the conversions' topics")
        if set(later) & {*self.kafka.topics, *join.topics}:
            raise ConfigError(
                f"join.conversions.topics = {list(later)}: one of them is in source.kafka.topics "
                "or join.topics too"
            )
        if set(join.topics) & set(self.kafka.topics):
            raise ConfigError(
                f"join.topics = {list(join.topics)}: one of them is in source.kafka.topics too"
            )
        if self.forms.messages == AVRO and self.forms.avro.schema is not None:
            raise ConfigError(
                "source.avro.schema: is the impressions'; clicks have another: with a join, name a "
                "registry, or ids"
            )
        join.check(self.spec)

    @property
    def reading(self) -> KafkaSettings:
        """All topics that are read: those of clicks after all others, then conversions."""
        if self.join is None:
            return self.kafka
        later = () if self.join.conversions is None else self.join.conversions.topics
        return replace(self.kafka, topics=self.kafka.topics + self.join.topics + later)

    @property
    def clicks_from(self) -> int:
        """The number of the first partition of clicks."""
        return TOPIC_SPAN * len(self.kafka.topics)

    @property
    def conversions_from(self) -> int | None:
        """The number of the first partition of conversions; None: there are none."""
        if self.join is None or self.join.conversions is None:
            return None
        return self.clicks_from + TOPIC_SPAN * len(self.join.topics)

    @property
    def letter_topic(self) -> str | None:
        """The topic of dead letters; None: they go to the log's folder."""
        if self.dead_letters == FOLDER:
            return None
        if self.dead_letters == TOPIC:
            return f"{self.kafka.topics[0]}.dlq"
        return self.dead_letters
