"""Undecoded chunks -> validated ones: the steps of the pipeline on one machine, as one function."""

from __future__ import annotations

from dataclasses import replace

from beam_jobs.dead_letters import Letter
from beam_jobs.decode import decode
from beam_jobs.join_rows import as_log_rows, click_spec, with_columns
from beam_jobs.log_source import Chunk
from beam_jobs.stream_options import StreamOptions
from beam_jobs.validate import Validated, validate


def validated(chunk: Chunk, options: StreamOptions) -> tuple[Validated, list[Letter]]:
    """The good rows of a chunk, and a letter for each of the others.

    Raises:
        ConfigError: columns or schemas that can't be used.
        RunError: the schema registry does not answer.
    """
    join = options.join
    click = join is not None and chunk.partition >= options.clicks_from
    spec = click_spec(join) if join is not None and click else options.spec
    decoded, undecodable = decode(chunk, spec, options.forms)
    if join is not None:
        decoded = replace(decoded, rows=with_columns(spec, decoded.rows, click=click))
    rows, invalid = validate(spec, decoded, options.max_jump_ms)
    if click:
        rows = as_log_rows(rows, options.spec)
    return rows, undecodable + invalid
