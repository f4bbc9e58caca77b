"""A running stream on a terminal: one screen that is drawn anew, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream_prune.cli.demo.readings import Reading

if TYPE_CHECKING:
    from stream_prune.report.event_log import Event

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 48
LINE_EVERY_S = 5.0


class Show(Protocol):
    """Draws a reading; ``note`` says what is going on besides."""

    def __call__(self, reading: Reading, note: str = "") -> None: ...


@contextmanager
def view(console: Console, title: str, addresses: dict[str, str]) -> Iterator[Show]:
    """What shows readings while the block runs; ``addresses`` are shown below the figures."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=False) as live:

            def draw(reading: Reading, note: str = "") -> None:
                live.update(screen(title, reading, addresses, note))

            yield draw
        return
    last = -LINE_EVERY_S

    def say(reading: Reading, note: str = "") -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= LINE_EVERY_S:
            last = now
            console.print(line(reading, note), highlight=False, soft_wrap=True)

    for text in _in_line(addresses):
        console.print(text, highlight=False, soft_wrap=True)
    yield say


def line(reading: Reading, note: str = "") -> str:
    """The reading in one line."""
    trained = reading.trained
    parts = [
        f"{reading.seconds:.0f} s",
        f"{reading.sent:,} sent ({reading.sent_rate:,.0f}/s)",
        f"lag {reading.lag:,}",
        f"window {when(reading.committed.window_end)}",
        f"trained to {when(trained.window_end)}",
        f"NE {figure(trained.ne, '.4f')}",
        f"density {figure(trained.density, '.0%')}",
        f"{trained.alarms} drift alarms",
        f"serving {'version ' + reading.version if reading.version else 'nothing yet'}",
    ]
    return ", ".join([*parts, note] if note else parts)


def screen(
    title: str, reading: Reading, addresses: dict[str, str], note: str = ""
) -> RenderableType:
    """The reading as a screen."""
    committed, trained = reading.committed, reading.trained
    counts = committed.counts
    bad = ", ".join(
        f"{counts[name]:,} {name}"
        for name in ("late", "duplicates", "invalid", "undecodable")
        if counts[name]
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1)
    table.add_row("producer", f"{reading.sent_rate:,.0f}/s", f"{reading.sent:,} events sent")
    table.add_row(
        "Beam job",
        f"{reading.committed_rate:,.0f}/s",
        f"window {when(committed.window_end)}, {committed.windows:,} committed, "
        f"lag {reading.lag:,} events",
    )
    table.add_row("", "", f"{counts['good']:,} good" + (f", {bad}" if bad else ", none bad"))
    table.add_row(
        "trainer",
        f"NE {figure(trained.ne, '.4f')}",
        f"window {when(trained.window_end)}, AUC {figure(trained.auc, '.4f')}, "
        f"{trained.rows:,} events evaluated",
    )
    table.add_row("", "", Text(curve(list(trained.ne_history)), style="magenta"))
    table.add_row(
        "model",
        f"{figure(trained.density, '.0%')}",
        f"of the dense model's MACs, {trained.rows_used:,} embedding rows in use",
    )
    table.add_row("", "", Text(curve(list(trained.density_history)), style="green"))
    table.add_row("drift", f"{trained.alarms}", "alarms so far")
    served = f"version {reading.version}" if reading.version else "nothing published yet"
    table.add_row("serving", served, "")
    events = [
        Text(event_line(event), style="dim", no_wrap=True, overflow="ellipsis")
        for event in trained.events
    ]
    links = [Text(text, style="dim") for text in _in_line(addresses)]
    parts: list[RenderableType] = [table, Text("")]
    parts += [*events, Text("")] if events else []
    parts += links
    parts.append(Text(note or "Ctrl-C ends everything", style="bold"))
    minutes, seconds = divmod(int(reading.seconds), 60)
    return Panel(Group(*parts), title=f"{title} · {minutes}:{seconds:02}", border_style="blue")


def _in_line(addresses: dict[str, str]) -> list[str]:
    """A line an address, one below the other."""
    width = max(map(len, addresses), default=0) + 1
    return [f"{name + ':':{width}} {address}" for name, address in addresses.items()]


def event_line(event: Event) -> str:
    """A decision in one line: when, what, why."""
    at = when(None if event.time != event.time else int(event.time))
    return f"{at}  {event.kind} {event.text}"


def when(time_ms: int | None) -> str:
    """An event time for people."""
    if time_ms is None:
        return "-"
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def figure(value: float | None, form: str) -> str:
    """A number, or a dash."""
    return "-" if value is None else format(value, form)


def curve(values: Sequence[float]) -> str:
    """The last values as bars between their least and their greatest.

    >>> curve([1.0, 2.0, 3.0, 2.0])
    '▁▄█▄'
    """
    shown = list(values)
    if len(shown) > CURVE_WIDTH:
        step = len(shown) / CURVE_WIDTH
        shown = [shown[int(i * step)] for i in range(CURVE_WIDTH)]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[int((value - low) * scale)] for value in shown)
