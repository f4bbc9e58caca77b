"""What `produce` is told, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_prune.errors import ConfigError

FORMATS = ("avro", "confluent", "json")


@dataclass(frozen=True)
class Idle:
    """One partition that gets nothing for a while; its events go to the next one.

    Attributes:
        partition: which; None: none does.
        start, stop: shares of the log between which it is idle.
    """

    partition: int | None = None
    start: float = 0.25
    stop: float = 0.75

    def __post_init__(self) -> None:
        if self.partition is not None and self.partition < 0:
            raise ConfigError(f"produce.faults.idle.partition = {self.partition}: must be >= 0")
        if not 0 <= self.start < self.stop <= 1:
            raise ConfigError(
                f"produce.faults.idle.start = {self.start}: must be in [0, stop), and stop = "
                f"{self.stop} at most 1"
            )


@dataclass(frozen=True)
class Bursts:
    """A rate that is higher now and then.

    Attributes:
        factor: how many times as high in a burst.
        every_s: seconds from the beginning of a burst to that of the next.
        length_s: seconds that it lasts.
    """

    factor: float = 1.0
    every_s: float = 10.0
    length_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.factor >= 1:
            raise ConfigError(f"produce.faults.bursts.factor = {self.factor}: must be 1 or more")
        if not 0 < self.length_s < self.every_s:
            raise ConfigError(
                f"produce.faults.bursts.length_s = {self.length_s}: must be above 0 and below "
                f"every_s = {self.every_s}"
            )


@dataclass(frozen=True)
class Faults:
    """What goes wrong on the way, on purpose; all shares are of the log's events.

    Attributes:
        duplicates: sent twice; the copy follows within the out-of-orderness.
        disorder: sent later than their turn, but within the out-of-orderness.
        late: held back until the watermark of their partition has passed their window.
        corrupt: sent with bytes missing at their end, so that nothing can be decoded.
        invalid: sent with a label of 2.
        schema_change: share of the log after which messages have another writer schema, with one
            more field in front; None: never.
        idle: a partition that falls silent.
        bursts: of the rate.
    """

    duplicates: float = 0.0
    disorder: float = 0.0
    late: float = 0.0
    corrupt: float = 0.0
    invalid: float = 0.0
    schema_change: float | None = None
    idle: Idle = field(default_factory=Idle)
    bursts: Bursts = field(default_factory=Bursts)

    def __post_init__(self) -> None:
        for name in SHARES:
            share = getattr(self, name)
            if not 0 <= share <= 0.5:
                raise ConfigError(f"produce.faults.{name} = {share}: must be in [0, 0.5]")
        if sum(getattr(self, name) for name in SHARES) > 1:
            raise ConfigError(f"produce.faults: {', '.join(SHARES)} add up to more than 1")
        if self.schema_change is not None and not 0 < self.schema_change < 1:
            raise ConfigError(
                f"produce.faults.schema_change = {self.schema_change}: must be in (0, 1)"
            )


SHARES = ("duplicates", "disorder", "late", "corrupt", "invalid")


@dataclass(frozen=True)
class ProduceOptions:
    """How a log is played.

    Attributes:
        topic: written to; None: the first of ``source.kafka.topics``.
        partitions: of the topic, if it has to be made.
        format: ``avro`` (bare), ``confluent`` (Avro behind a schema id), or ``json``; None: as
            ``source.format`` and ``source.avro.framing`` say.
        schema_id: in front of ``confluent`` messages; after a schema change, the next one.
        key: column whose text is the messages' key and decides their partition; None: no key, the
            partitions in turn.
        rate: events a second; None: as fast as it can, unless ``speed`` is given.
        speed: event time that passes in a second of the clock.
        rounds: how often the log is played; event times go on from round to round.
        faults: what goes wrong on purpose.
        seed: of the faults.
    """

    topic: str | None = None
    partitions: int = 4
    format: str | None = None
    schema_id: int = 1
    key: str | None = None
    rate: float | None = None
    speed: float | None = None
    rounds: int = 1
    faults: Faults = field(default_factory=Faults)
    seed: int = 1

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise ConfigError(
                f"produce.format = {self.format!r}: must be one of {', '.join(FORMATS)}"
            )
        for name in ("partitions", "rounds", "schema_id"):
            if getattr(self, name) < 1:
                raise ConfigError(f"produce.{name} = {getattr(self, name)}: must be 1 or more")
        for name in ("rate", "speed"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"produce.{name} = {value}: must be above 0")
        if self.rate is not None and self.speed is not None:
            raise ConfigError("produce.rate: goes without produce.speed: name one of them")
        if self.faults.bursts.factor > 1 and self.rate is None:
            raise ConfigError("produce.faults.bursts: are bursts of produce.rate: name it")
        if self.faults.schema_change is not None and self.format == "avro":
            raise ConfigError(
                "produce.faults.schema_change: bare Avro does not say its schema: "
                "use format: confluent or json"
            )
        idle = self.faults.idle.partition
        if idle is not None and not (idle < self.partitions and self.partitions > 1):
            raise ConfigError(
                f"produce.faults.idle.partition = {idle}: must be one of {self.partitions}, "
                "two or more"
            )
