"""Undecoded chunks -> validated ones: the steps of the pipeline on one machine, as one function."""

from __future__ import annotations

from beam_jobs.dead_letters import Letter
from beam_jobs.decode import decode
from beam_jobs.log_source import Chunk
from beam_jobs.stream_options import StreamOptions
from beam_jobs.validate import Validated, validate


def validated(chunk: Chunk, options: StreamOptions) -> tuple[Validated, list[Letter]]:
    """The good rows of a chunk, and a letter for each of the others.

    Raises:
        ConfigError: columns or schemas that can't be used.
        RunError: the schema registry does not answer.
    """
    decoded, undecodable = decode(chunk, options.spec, options.forms)
    rows, invalid = validate(options.spec, decoded, options.max_jump_ms)
    return rows, undecodable + invalid
