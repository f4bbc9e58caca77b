"""The event log: every decision that a journal holds, as the console and the page show it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from stream_prune.errors import RunError
from stream_prune.training.journal import CLOCK

NOT_EVENTS = frozenset({"start", "window", "churn", "slices", "end"})
"""Kinds of journal lines that tell how the run goes on; every other kind is a decision."""

COLUMNS = (
    "step",
    "event time (UTC)",
    "examples",
    "what",
    "trigger",
    "slice loss",
    "severity",
    "density",
    "MACs",
    "rate",
    "seconds",
)
"""The figures of an event, in the order of :attr:`Event.cells`."""

NUMBERS = frozenset({"step", "examples", "slice loss", "severity", "rate", "seconds"})
"""Columns that are set flush right."""

_SHOWN = frozenset(
    {
        *("run", "step", "kind", "event_time", "rows", "trigger", "value", "severity", "rate"),
        *("density_before", "density_after", "macs_before", "macs_after", "plan_before", "plan"),
        CLOCK,
    }
)
"""Keys that have a place in the table; whatever else a line holds is shown behind the plan."""


@dataclass(frozen=True)
class Event:
    """One decision, or one alarm.

    Attributes:
        kind: as the journal has it, e.g. "drift", "shrink", "grow", "rewire", "revert".
        step: batches learned and windows evaluated before it.
        time: event time, ms since the epoch; where the decision had none, the end of the last
            window that had been evaluated (NaN before the first).
        cells: the figures as text, in the order of :data:`COLUMNS`, empty where there is none.
        plan: what became wider or narrower, from what to what; empty where nothing did.
        record: the whole line of the journal.
    """

    kind: str
    step: int
    time: float
    cells: tuple[str, ...]
    plan: str
    record: Mapping[str, Any]

    @property
    def text(self) -> str:
        """All of it in one line of words."""
        told = {"severity": "severity ", "density": "density ", "MACs": "MACs ", "rate": "rate × "}
        of = dict(zip(COLUMNS, self.cells, strict=True))
        reason = f"because of {of['trigger']}" if of["trigger"] else ""
        figures = (before + of[name] for name, before in told.items() if of[name])
        return ", ".join([part for part in (reason, *figures, self.plan) if part])


def event_lines(lines: Iterable[Mapping[str, Any]], journal: str) -> Iterator[Event]:
    """The events among the lines of a journal, in its order.

    Args:
        lines: all of them, from the first on.
        journal: the file, for messages.

    Raises:
        RunError: a line is not what a journal holds; the message names it.
    """
    window_end = float("nan")
    for number, line in enumerate(lines, 1):
        try:
            window_end = float(line.get("window_end", window_end))
            if line["kind"] not in NOT_EVENTS:
                yield _event(line, window_end)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RunError(f"{journal}: line {number} is no journal line ({error!r})") from None


def _event(line: Mapping[str, Any], window_end: float) -> Event:
    given = line.get("event_time")
    time = window_end if given is None else float(given)
    cells = (
        f"{line['step']:,}",
        f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M}" if time == time else "",
        _number(line.get("rows"), ",.0f"),
        str(line["kind"]),
        str(line.get("trigger") or ""),
        _number(line.get("value"), ".4f"),
        _number(line.get("severity"), ".1f"),
        _change(line, "density", ".2f"),
        _change(line, "macs", ",.0f"),
        _number(line.get("rate"), ".3g"),
        _number(line.get(CLOCK, {}).get("seconds"), ".3f"),
    )
    return Event(str(line["kind"]), int(line["step"]), time, cells, _details(line), line)


def _number(value: Any, form: str) -> str:
    """Empty for null, and what is no number as it is: other kinds may hold other things."""
    if value is None:
        return ""
    return format(value, form) if isinstance(value, int | float) else str(value)


def _change(line: Mapping[str, Any], name: str, form: str) -> str:
    """`1.00 → 0.42`, or `0.42` where it is the same on both sides."""
    return _arrow(
        _number(line.get(f"{name}_before"), form), _number(line.get(f"{name}_after"), form)
    )


def _arrow(before: str, after: str) -> str:
    return f"{before} → {after}" if before and before != after else after


def _details(line: Mapping[str, Any]) -> str:
    """The parts of the plan that have changed; then what else the line holds, as it is."""
    before, after = line.get("plan_before") or {}, line.get("plan") or {}
    parts = []
    for part, values in after.items():
        known = before.get(part, {})
        told = [
            f"{name} {_arrow(_number(known.get(name), ',.0f'), _number(value, ',.0f'))}"
            for name, value in values.items()
            if known.get(name, 0) != value
        ]
        if told:
            parts.append(f"{part}: {', '.join(told)}")
    more = {key: line[key] for key in line if key not in _SHOWN and line[key] is not None}
    return "; ".join([*parts, *(_named(key, value) for key, value in more.items())])


def _named(key: str, value: Any) -> str:
    """A value that has no column, with its name."""
    if isinstance(value, Mapping):
        return f"{key}: {', '.join(_named(str(name), item) for name, item in value.items())}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{key} {value:{',' if isinstance(value, int) else '.4g'}}"
    return f"{key}: {value if isinstance(value, str) else json.dumps(value)}"
