"""Flags of the runner that a configuration names: its own, over those that a runner needs here."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from beam_jobs.stream_options import DATAFLOW, FLINK, StreamOptions

JOB_ENDPOINT = "localhost:8099"
"""Where Beam's job server listens unless told otherwise."""

_NEEDED: Mapping[str, Mapping[str, Any]] = {
    FLINK: {
        "runner": "PortableRunner",
        "job_endpoint": JOB_ENDPOINT,
        "environment_type": "LOOPBACK",
        "checkpointing_interval": 5_000,
        # Parcels move on when a bundle ends: with Flink's own sizes no window came out for long.
        "max_bundle_time_mills": 100,
        "max_bundle_size": 100,
        # A job of which Flink takes checkpoints never ends, even when its readers have: so the
        # readers become the last thing of the job, and end it. Nothing here needs a checkpoint.
        "shutdown_sources_after_idle_ms": 1_000,
    },
    DATAFLOW: {"runner": "DataflowRunner"},
}


def runner_flags(options: StreamOptions) -> list[str]:
    """``--name=value`` for each; what the configuration says comes before what is needed."""
    needed = dict(_NEEDED[options.runner])
    if options.runner == FLINK:
        needed["parallelism"] = options.readers
    values = {"streaming": True, "job_name": "stream-prune", **needed, **options.runner_options}
    return [flag for name, value in values.items() for flag in _flags(name, value)]


def expect_job_servers_flags() -> None:
    """No warning from Beam's Python about what is needed here: Flink's job server knows it."""
    logging.getLogger("apache_beam.options.pipeline_options").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(f" --{name}=" in record.getMessage() for name in _NEEDED[FLINK])


def _flags(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, (list, tuple)):
        return [f"--{name}={item}" for item in value]
    if isinstance(value, Mapping):
        return [f"--{name}={json.dumps(dict(value))}"]
    return [f"--{name}={value}"]
