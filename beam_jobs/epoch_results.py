"""From what an epoch's pipeline has made to the window buffer, in the one order that rows have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beam_jobs.dead_letters import INVALID, LATE, UNDECODABLE, Letter
from beam_jobs.log_source import UNREADABLE
from beam_jobs.validate import days
from beam_jobs.window_buffer import WindowBuffer
from beam_jobs.windows import Windowed
from stream_prune.errors import RunError


@dataclass(frozen=True)
class Wording:
    """What the reasons of dead letters name: the partition, the event time's column, the bound."""

    partition: str
    event_time: str
    max_jump_ms: int


def add_epoch(
    harvest: Mapping[str, list[Any]], buffer: WindowBuffer, wording: Wording
) -> list[Letter]:
    """Put an epoch's chunks into the buffer; returns the letters that are new, by position.

    Raises:
        RunError: a chunk could not be read or decoded.
    """
    for message in sorted(harvest.get(UNREADABLE, ())):
        raise RunError(message)
    letters: list[Letter] = [
        letter
        for name in (UNDECODABLE, INVALID)
        for letter in harvest.get(name, ())
        if letter.offset >= buffer.partitions[letter.partition].handled
    ]
    chunks: list[Windowed] = harvest.get("windowed", [])
    for chunk in sorted(chunks, key=lambda c: (c.decoded.partition, c.decoded.start)):
        refused = buffer.add(chunk)
        for offset in refused.late.tolist():
            reason = (
                "its window had closed when it came: the watermark of "
                f"{wording.partition} was past its end"
            )
            letters.append(chunk.decoded.letter(offset, LATE, reason))
        for offset, by in zip(refused.jumped.tolist(), refused.by_ms.tolist(), strict=True):
            reason = (
                f"column {wording.event_time!r}: the event time is {days(by)} after the rows "
                f"before it in {wording.partition}: windows.max_jump allows "
                f"{days(wording.max_jump_ms)}"
            )
            letters.append(chunk.decoded.letter(offset, INVALID, reason))
    return sorted(letters, key=lambda letter: (letter.partition, letter.offset))
