"""Everything that can be known to be wrong with the files of a log before their rows are read."""

from __future__ import annotations

import json
from dataclasses import asdict

import pyarrow as pa

from beam_jobs.log_source import FileSource, find_files, find_format
from beam_jobs.options import ReplayOptions
from stream_prune.encoding import encode
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.header import LogHeader, differences
from stream_prune.minibatch.publish import publish, sync_folder

SOURCE = "source.json"
"""The file in the folder of a log that says what it was written from."""


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
        _check_columns(options.spec, schema, str(path))
        for name in options.spec.columns:
            if schema.field(name).type != first.field(name).type:
                raise ConfigError(
                    f"{path}: column {name!r} has the type {schema.field(name).type}, in "
                    f"{paths[0]} {first.field(name).type}: must be the same in all files of a log"
                )
        rows = rows or source.has_rows(partition)
    if not rows:
        raise RunError(f"source.files: no rows in {', '.join(str(path) for path in paths[:3])}")
    return source


def _check_columns(spec: FeatureSpec, schema: pa.Schema, path: str) -> None:
    try:
        encode(spec, pa.RecordBatch.from_pylist([], schema=schema))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def create_log(options: ReplayOptions, source: FileSource) -> FolderLog:
    """The mini-batch log to write: a new one, or the one that these options began.

    Raises:
        ConfigError: the folder holds a log with another schema, or of other files.
        RunError: it can't be written.
    """
    header = LogHeader.of(options.spec, window_ms=options.window_ms, batch_rows=options.batch_rows)
    log = FolderLog.create(options.log, header)
    wanted = {
        "files": [f"{path.name} ({path.stat().st_size} bytes)" for path in source.files],
        "format": source.format,
        "csv": {**asdict(source.csv), "null_values": list(source.csv.null_values)},
        "out_of_orderness_ms": options.out_of_orderness_ms,
        "max_jump_ms": options.max_jump_ms,
    }
    place = log.path / SOURCE
    text = json.dumps(wanted, indent=2) + "\n"
    if publish(place, text.encode(), temporary=log.path / "temporary", owner="header"):
        sync_folder(log.path)
        return log
    try:
        there = json.loads(place.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{place}: cannot be read: {error}") from None
    found = list(differences(there, wanted))
    if found:
        raise ConfigError(
            f"{place}: the log was written from other files or in another way: {'; '.join(found)}: "
            "go back to those, or use another folder"
        )
    return log
