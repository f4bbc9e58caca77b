"""States of parts within one state: their keys get the part's name in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_prune.stateful import State


def nested(part: str, state: Mapping[str, Any]) -> State:
    """The state of a part, to be merged into the whole's.

    >>> nested("live", {"plan": "{}"})
    {'live/plan': '{}'}
    """
    return {f"{part}/{key}": value for key, value in state.items()}


def part_of(state: State, part: str) -> dict[str, Any]:
    """The inverse of :func:`nested`: the state of a part, empty if the whole has none of it."""
    prefix = f"{part}/"
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }
