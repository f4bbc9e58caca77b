"""The parts of a configuration that say where events come from and how they become windows.

Neither this file nor anything that it imports needs torch: a streaming job does not train.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from beam_jobs.avro_format import AvroFormat
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.produce.options import ProduceOptions
from stream_prune.cli import config_errors, config_file
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec, duration_ms


def _duration(value: object) -> object:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return value
    try:
        return duration_ms(value)
    except ConfigError as error:
        raise ValueError(str(error).partition(": ")[2]) from None


Duration = Annotated[
    int, BeforeValidator(_duration), PlainSerializer(lambda ms: f"{ms}ms", return_type=str)
]
"""Milliseconds, written as ``15min``, ``6h``, ``1d``."""


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def _bytes(value: object) -> object:
    found = (
        re.fullmatch(rf"(\d+)\s*({'|'.join(_UNITS)})", value) if isinstance(value, str) else None
    )
    return value if found is None else int(found[1]) * _UNITS[found[2]]


Bytes = Annotated[int, BeforeValidator(_bytes)]
"""Bytes, written as a number, or ``500MB``, ``20GB``."""


class Part(BaseModel):
    """A mapping in the file: no key but the named ones, nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(Part):
    """Where events come from: a named data set, files (paths, folders, patterns), or topics.

    Attributes:
        kafka: topics, and how to reach them.
        dataset: a name of ``stream-prune datasets list``.
        rows: only so many first events of the data set.
        folder: where the data set's files are kept.
        files: Parquet, CSV, Avro or JSON-lines files; each is one partition, sorted by name.
        format: of files ``parquet``, ``csv``, ``avro`` or ``jsonl``, where ``auto`` goes by their
            suffixes; of topics ``avro`` or ``json``.
        avro: the schemas of Avro messages in topics.
        delimiter: of CSV files.
        null_values: what stands for a missing value in CSV files, unless quoted.
    """

    kafka: KafkaSettings | None = None
    dataset: str | None = None
    rows: Annotated[int | None, Field(ge=1)] = None
    folder: Path = Path("runs/data")
    files: tuple[str, ...] = ()
    format: Literal["auto", "parquet", "csv", "avro", "jsonl", "json"] = "auto"
    avro: AvroFormat = AvroFormat()
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NA")

    @model_validator(mode="after")
    def _one_of_all(self) -> Source:
        if [self.kafka is None, self.dataset is None, not self.files].count(False) != 1:
            raise ValueError("name one of `kafka`, `dataset` and `files`")
        if self.dataset is None and self.rows is not None:
            raise ValueError("`rows` goes with `dataset` only")
        if self.kafka is not None and self.format not in ("avro", "json"):
            raise ValueError("`format` must be avro or json where `kafka` is named")
        if self.kafka is None and self.format == "json":
            raise ValueError("`format` json is for `kafka`; files with an event a line are jsonl")
        return self


class Windows(Part):
    """Event-time windows and mini-batches.

    Attributes:
        length: of a window.
        out_of_orderness: how far an event may lie behind those before it in its file.
        max_jump: how far an event time may lie after all before it in its file; a row further off
            is a dead letter.
        batch_rows: most rows in a mini-batch.
    """

    length: Annotated[Duration, Field(gt=0)] = 3_600_000
    out_of_orderness: Annotated[Duration, Field(ge=0)] = 0
    max_jump: Annotated[Duration, Field(gt=0)] = 30 * 86_400_000
    batch_rows: Annotated[int, Field(ge=1)] = 256


class Stream(Part):
    """How ``stream-prune stream`` reads topics.

    Attributes:
        idle: what a partition that gets nothing does: ``wait`` holds windows open, ``leave`` holds
            none, ``wall_clock`` follows the clock on the wall (for live events only).
        idle_after: how long it must have got nothing.
        dead_letters: ``topic`` (the first topic's name and ``.dlq``), ``folder`` (the log's), or
            the name of a topic.
        epoch: a micro-epoch ends after so long ...
        epoch_rows: ... or after so many events.
        max_open_rows: rows in open windows from which on only partitions that hold them open are
            read.
        runner: ``in_process`` (this machine, in micro-epochs), ``flink`` (a cluster, through
            Beam's job server) or ``dataflow``.
        runner_options: of a runner on a cluster, Beam's pipeline options, passed through.
        readers: on a cluster, how many read the partitions side by side.
    """

    idle: Literal["wait", "leave", "wall_clock"] = "wait"
    idle_after: Annotated[Duration, Field(gt=0)] = 5_000
    dead_letters: str = "topic"
    epoch: Annotated[Duration, Field(gt=0)] = 400
    epoch_rows: Annotated[int, Field(ge=1)] = 100_000
    max_open_rows: Annotated[int, Field(ge=1)] = 5_000_000
    runner: str = "in_process"
    runner_options: dict[str, Any] = {}
    readers: Annotated[int, Field(ge=1)] = 4


@dataclasses.dataclass(frozen=True)
class Produce(ProduceOptions):
    """How ``stream-prune produce`` plays a log into the topics of ``source.kafka``.

    Attributes:
        log: what is played.
    """

    log: Source | None = None


class LaterConversions(Part):
    """Conversions that follow the clicks of a join, in columns of the same names.

    Attributes:
        files: for a replay, in the format of the others; each is one partition.
        topics: for the streaming job.
        attribution: how long after its click a conversion counts.
    """

    files: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    attribution: Annotated[Duration, Field(gt=0)]


class Join(Part):
    """Labels that come from other events: clicks or conversions of the impressions' keys.

    Attributes:
        files: of the clicks, for a replay, in the format of the others; each is one partition.
        topics: of the clicks, for the streaming job.
        attribution: how long after its impression a click counts; an impression without one is a
            negative then.
        time: column of a click's event time; by default that of the impressions.
        key: column of the key of its impression; by default ``features.event_key``.
        max_pending: most impressions that wait; past it the job stops.
        conversions: an impression is a positive only if its click is followed by one.
    """

    files: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    attribution: Annotated[Duration, Field(gt=0)]
    time: str | None = None
    key: str | None = None
    max_pending: Annotated[int, Field(ge=1)] = 5_000_000
    conversions: LaterConversions | None = None


class Keep(Part):
    """How much of the mini-batch log the streaming job keeps, beside what a trainer still needs.

    Attributes:
        age: of event time, up to the last window.
        rows: the newest so many.
        size: the newest so many bytes of batches: a number, or 500MB, 20GB.
    """

    age: Annotated[Duration | None, Field(gt=0)] = None
    rows: Annotated[int | None, Field(ge=1)] = None
    size: Annotated[Bytes | None, Field(ge=1)] = None

    @model_validator(mode="after")
    def _one_at_least(self) -> Keep:
        if self.age is None and self.rows is None and self.size is None:
            raise ValueError("name age, rows or size")
        return self


class EventsConfig(Part):
    """What every job on events is told, whether it trains or not.

    Attributes:
        features: which columns a model sees, here or in a file of their own; a named data set has
            its own.
        max_bad_share: share of rows that may be undecodable or invalid before the job stops.
    """

    source: Source | None = None
    features: Path | dict[str, Any] | None = None
    windows: Windows = Windows()
    join: Join | None = None
    retention: Keep | None = None
    stream: Stream = Stream()
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    produce: Produce | None = None

    @field_validator("features", mode="before")
    @classmethod
    def _file_or_mapping(cls, value: Any) -> Any:
        return Path(value) if isinstance(value, str) else value

    def spec(self) -> FeatureSpec:
        """The feature specification: inline, from the named file, or the data set's own.

        Raises:
            ConfigError: it can't be read, or none is named and files have none of their own.
        """
        if isinstance(self.features, Path):
            try:
                values = config_file.parse(self.features)
            except ConfigError as error:
                raise ConfigError(f"features = {error}") from None
            try:
                return _spec(values)
            except ConfigError as error:
                raise ConfigError(f"{self.features}: {error}") from None
        if self.features is not None:
            return _spec(self.features)
        if self.source is None or self.source.dataset is None:
            raise ConfigError("features: is missing: name the columns, or a file that does")
        from stream_prune.datasets import load

        return load(self.source.dataset).SPEC


def _spec(values: Mapping[str, Any]) -> FeatureSpec:
    delay = values.get("label_delay")
    if isinstance(delay, str | int | float):
        try:
            duration_ms(delay)
        except ConfigError as error:
            reason = str(error).partition(": ")[2]
            raise ConfigError(f"features.label_delay = {delay!r}: {reason}") from None
    return FeatureSpec.from_dict(values)


_Read = TypeVar("_Read", bound=Part)


def read_as(model: type[_Read], path: Path, changes: Sequence[str] = ()) -> _Read:
    """Read and check a configuration file, with ``--set`` changes on top.

    Raises:
        ConfigError: a line per fault, as ``a.yaml: windows.length = 0: must be greater than 0``.
    """
    values = config_file.read(path, changes)
    if "training" in values:
        raise ConfigError(f"{path}: training: unknown key; its keys stand at the top of the file")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(config_errors.describe(error, model, values, str(path))) from None
    except ConfigError as error:  # a room's own check
        text = config_errors.locate(str(error), values) or str(error)
        raise ConfigError(f"{path}: {text}") from None
