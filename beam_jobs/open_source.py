"""Everything that can be known to be wrong with the files of a log before their rows are read."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa

from beam_jobs.log_of_source import log_of_source
from beam_jobs.log_source import FileSource, find_files, find_format
from beam_jobs.options import ReplayOptions
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.header import LogHeader
from stream_prune.minibatch.log import MiniBatchLog


def open_source(options: ReplayOptions) -> FileSource:
    """The files that ``options`` names, each with every column of the specification.

    Raises:
        ConfigError: a file does not exist, lacks a column, or has one of a type that cannot be
            meant or that differs from the other files'.
        RunError: a file can't be read, or there is no row in any.
    """
    paths = find_files(options.files)
    source = FileSource(paths, find_format(paths, options.format), options.csv)
    first = source.open(0).schema
    rows = False
    for partition, path in enumerate(paths):
        schema = source.open(partition).schema
        rows = rows or source.has_rows(partition)
        if schema is None or first is None:  # known only record by record
            continue
        _check_columns(options.spec, schema, str(path))
        for name in options.spec.columns:
            if schema.field(name).type != first.field(name).type:
                raise ConfigError(
                    f"{path}: column {name!r} has the type {schema.field(name).type}, in "
                    f"{paths[0]} {first.field(name).type}: must be the same in all files of a log"
                )
    if not rows:
        raise RunError(f"source.files: no rows in {', '.join(str(path) for path in paths[:3])}")
    return source


def _check_columns(spec: FeatureSpec, schema: pa.Schema, path: str) -> None:
    try:
        encode(spec, pa.RecordBatch.from_pylist([], schema=schema))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def create_log(options: ReplayOptions, source: FileSource) -> MiniBatchLog:
    """The mini-batch log to write: a new one, or the one that these options began.

    Raises:
        ConfigError: there is a log with another schema, or of other files.
        RunError: it can't be written.
    """
    header = LogHeader.of(options.spec, window_ms=options.window_ms, batch_rows=options.batch_rows)
    return log_of_source(
        options.log,
        header,
        {
            "files": [f"{path.name} ({path.stat().st_size} bytes)" for path in source.files],
            "format": source.format,
            "csv": {**asdict(source.csv), "null_values": list(source.csv.null_values)},
            "out_of_orderness_ms": options.out_of_orderness_ms,
            "max_jump_ms": options.max_jump_ms,
        },
    )
