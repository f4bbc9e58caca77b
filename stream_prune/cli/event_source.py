"""What jobs on events share: the files of a source, and the join."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_prune.cli.events_config import EventsConfig, Source

if TYPE_CHECKING:
    from beam_jobs.join_options import JoinOptions


def source_files(source: Source) -> tuple[str, ...]:
    """The files of a source; a data set's are written if they aren't there."""
    if source.dataset is None:
        return source.files
    from stream_prune.datasets import load

    return tuple(str(path) for path in load(source.dataset).prepare(source.folder, source.rows))


def join_options(config: EventsConfig) -> JoinOptions | None:
    """The join of the configuration, if it has one."""
    from beam_jobs.join_options import Conversions, JoinOptions

    if config.join is None:
        return None
    spec, join = config.spec(), config.join
    later = join.conversions
    return JoinOptions(
        files=join.files,
        topics=join.topics,
        time=join.time or spec.event_time,
        key=join.key or spec.event_key or "",
        attribution_ms=join.attribution,
        max_pending=join.max_pending,
        conversions=None
        if later is None
        else Conversions(later.files, later.attribution, later.topics),
    )
