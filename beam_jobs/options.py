"""What the replay job is told, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from beam_jobs.join_options import JoinOptions
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.place import LogPlace

FORMATS = ("auto", "parquet", "csv", "avro", "jsonl")


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV file is read: a record is a line, quoted values may hold delimiters, no line break.

    Every value is text and is parsed by the feature specification, so that no type is ever guessed.

    Attributes:
        delimiter: one character.
        null_values: what stands for a missing value, unless quoted.
    """

    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NA")

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise ConfigError(
                f"source.delimiter = {self.delimiter!r}: "
                "must be one character, no quote or line break"
            )


@dataclass(frozen=True)
class ReplayOptions:
    """A log on disk, and how it becomes a mini-batch log.

    Attributes:
        files: paths, folders or patterns; sorted, each file is one partition.
        spec: the columns and what they mean.
        log: place of the mini-batch log; a log that is there already is continued.
        window_ms: length of an event-time window (ms).
        out_of_orderness_ms: how far (ms) an event may lie behind the greatest event time read
            before it in its file; a row whose window ended earlier than that is late.
        max_jump_ms: how far (ms), beyond the out-of-orderness, an event time may lie after the
            greatest read before it in its file; a row further off is invalid, so that one wrong
            event time cannot make all rows after it late. Against other files nothing is compared.
        batch_rows: most rows in a mini-batch.
        format: ``parquet``, ``csv``, ``avro``, ``jsonl`` (an event a line), or ``auto``: by the
            files' suffixes.
        csv: how CSV files are read.
        max_bad_share: share of invalid and undecodable rows above which the job stops.
        epoch_rows: rows read in one micro-epoch.
        chunk_rows: rows of one Beam element.
        join: where labels come from, if not with the events; None: with the events.
    """

    files: tuple[str, ...]
    spec: FeatureSpec
    log: LogPlace
    window_ms: int
    out_of_orderness_ms: int = 0
    max_jump_ms: int = 30 * 86_400_000
    batch_rows: int = 4096
    format: str = "auto"
    csv: CsvFormat = field(default_factory=CsvFormat)
    max_bad_share: float = 0.01
    epoch_rows: int = 100_000
    chunk_rows: int = 8192
    join: JoinOptions | None = None

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("source.files = []: must name at least one file, folder or pattern")
        if self.format not in FORMATS:
            raise ConfigError(
                f"source.format = {self.format!r}: must be one of {', '.join(FORMATS)}"
            )
        for name, value, least in (
            ("windows.length", self.window_ms, 1),
            ("windows.out_of_orderness", self.out_of_orderness_ms, 0),
            ("windows.max_jump", self.max_jump_ms, 1),
        ):
            if value < least:
                raise ConfigError(f"{name} = {value} ms: must be {least} ms or more")
        for name, value in (
            ("windows.batch_rows", self.batch_rows),
            ("epoch_rows", self.epoch_rows),
            ("chunk_rows", self.chunk_rows),
        ):
            if value < 1:
                raise ConfigError(f"{name} = {value}: must be 1 or more")
        if not 0 <= self.max_bad_share <= 1:
            raise ConfigError(f"max_bad_share = {self.max_bad_share}: must be in [0, 1]")
        if self.join is not None:
            if not self.join.files:
                raise ConfigError("join.files = []: must name at least one file, folder or pattern")
            if self.join.conversions is not None and not self.join.conversions.files:
                raise ConfigError("join.conversions.files = []: must name at least one file")
            self.join.check(self.spec)
