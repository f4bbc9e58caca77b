"""Everything that can be known to be wrong with the files of a log before their rows are read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from beam_jobs.join_options import JoinOptions
from beam_jobs.join_rows import click_spec, with_columns
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
    clicks: tuple[Path, ...] = ()
    later: tuple[Path, ...] = ()
    if options.join is not None:
        clicks = _others("join.files", options.join.files, paths)
        if options.join.conversions is not None:
            files = options.join.conversions.files
            later = _others("join.conversions.files", files, paths + clicks)
    every = paths + clicks + later
    source = FileSource(
        every,
        find_format(every, options.format),
        options.csv,
        len(paths) if clicks else None,
        len(paths + clicks) if later else None,
    )
    numbers = range(len(paths))
    _check_files(source, numbers, options.spec)
    if options.join is not None:
        spec = click_spec(options.join)
        _check_files(source, range(len(paths), len(source.files)), spec)
    if not any(source.has_rows(partition) for partition in numbers):
        raise RunError(f"source.files: no rows in {', '.join(str(path) for path in paths[:3])}")
    return source


def _others(key: str, files: tuple[str, ...], before: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files of a key, which must be none of those before."""
    found = find_files(files)
    for path in found:
        if path.resolve() in {other.resolve() for other in before}:
            known = "source.files" if key == "join.files" else "source.files or join.files"
            raise ConfigError(f"{key}: {path} is among {known} too")
    return found


def _check_files(source: FileSource, partitions: range, spec: FeatureSpec) -> None:
    joined = source.clicks_from is not None
    first = source.open(partitions[0]).schema
    for partition in partitions:
        path, schema = source.files[partition], source.open(partition).schema
        source.has_rows(partition)  # shows whether it can be read at all
        if schema is None or first is None:  # known only record by record
            continue
        click = joined and partition >= (source.clicks_from or 0)
        _check_columns(spec, schema, str(path), joined=joined, click=click)
        for name in spec.columns:
            if joined and not {name} <= {*first.names} & {*schema.names}:  # what the join fills in
                continue
            if schema.field(name).type != first.field(name).type:
                raise ConfigError(
                    f"{path}: column {name!r} has the type {schema.field(name).type}, in "
                    f"{source.files[partitions[0]]} {first.field(name).type}: must be the same in "
                    "all files of a log"
                )


def _check_columns(
    spec: FeatureSpec, schema: pa.Schema, path: str, *, joined: bool, click: bool
) -> None:
    rows = pa.RecordBatch.from_pylist([], schema=schema)
    if joined:
        rows = with_columns(spec, rows, click=click)
    try:
        encode(spec, rows)
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
            **({} if options.join is None else {"join": _joined(options.join, source)}),
        },
    )


def _joined(options: JoinOptions, source: FileSource) -> dict[str, Any]:
    told = asdict(options) | {"clicks_from": source.clicks_from}
    for name in ("files", "topics", "max_pending"):  # its files are among the source's
        del told[name]
    if options.conversions is None:
        del told["conversions"]
    else:
        told["conversions"] = {
            "attribution_ms": options.conversions.attribution_ms,
            "from": source.conversions_from,
        }
    return told
