"""The mini-batch log of one source: it says what it was written from, and takes nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.header import LogHeader, differences
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.minibatch.open_log import create_log
from stream_prune.minibatch.place import LogPlace

SOURCE = "source"
"""The name under which a log says it."""


def log_of_source(place: LogPlace, header: LogHeader, source: Mapping[str, Any]) -> MiniBatchLog:
    """A new log, or the one that the same source began.

    Raises:
        ConfigError: there is a log with another header, or of another source.
        RunError: it can't be written.
    """
    log = create_log(place, header)
    text = log.agree(SOURCE, json.dumps(dict(source), indent=2) + "\n")
    try:
        there = json.loads(text)
    except ValueError as error:
        raise RunError(f"{place}: {SOURCE}: cannot be read: {error}") from None
    found = list(differences(there, dict(source)))
    if found:
        raise ConfigError(
            f"{place}: {SOURCE}: the log was written from other files or topics, or in another "
            f"way: {'; '.join(found)}: go back to those, or use another log"
        )
    return log
