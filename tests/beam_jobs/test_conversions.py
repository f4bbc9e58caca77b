"""A click is a positive only if a conversion follows it, within an attribution of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from clicks import SPEC as PLAIN
from clicks import clicks as impressions
from clicks import letters, options, write
from hypothesis import given
from hypothesis import strategies as st
from joined_windows import CLICKS, CONVERSIONS, LENGTH, SPEC, START, closed_windows

from beam_jobs.join import Join
from beam_jobs.join_options import Conversions, JoinOptions
from beam_jobs.replay import replay
from stream_prune.errors import ConfigError
from stream_prune.minibatch.commit import Commit

Event = tuple[int, int, int, int]
"""Time, partition, offset, key."""


def a_join(click_ms: int, conversion_ms: int) -> Join:
    later = Conversions(("bought",), conversion_ms)
    return Join(
        LENGTH,
        JoinOptions(("pressed",), "at", "key", click_ms, conversions=later),
        lambda numbers: numbers >= CLICKS,
        is_conversion=lambda numbers: numbers >= CONVERSIONS,
    )


def run(
    events: list[Event], click_ms: int, conversion_ms: int, stops: set[int]
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], str], int]:
    """Labels and letters by place, and how many clicks and conversions counted."""
    join, store = a_join(click_ms, conversion_ms), dict[str, bytes]()
    commits: list[Commit] = []
    labels, told, counted = dict[tuple[int, int], float](), dict[tuple[int, int], str](), 0
    for number, closed in enumerate(closed_windows(events)):
        if number in stops:
            join = a_join(click_ms, conversion_ms)
            join.restore(
                commits, lambda name, _: pa.ipc.open_file(pa.py_buffer(store[name])).get_batch(0)
            )
        for window in join.take(closed):
            store.update(window.state)
            for name in window.forget:
                store.pop(name, None)
            names = tuple((name, "digest") for name, _ in window.state)
            commits.append(Commit(window.window_end, 0, 1, SPEC.fingerprint, state=names))
            counted += sum(window.counts.values())
            told |= {(x.partition, x.offset): x.kind for x in window.letters}
            if window.rows is not None:
                for row in window.rows.to_pylist():
                    labels[row["__partition"], row["__offset"]] = row["__label"]
    assert store == {}
    return labels, told, counted


def by_the_event(
    events: list[Event], click_ms: int, conversion_ms: int
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], str], int]:
    """The same with a dict, one event after the other."""
    delay = -(-(click_ms + conversion_ms) // LENGTH) * LENGTH
    waiting: dict[int, dict[str, int]] = {}
    labels, told, counted = dict[tuple[int, int], float](), dict[tuple[int, int], str](), 0

    def release(until: int) -> None:
        for key in [k for k, shown in waiting.items() if shown["window"] <= until]:
            shown = waiting.pop(key)
            labels[shown["partition"], shown["offset"]] = float("converted" in shown)

    for end in sorted({event[0] // LENGTH * LENGTH + LENGTH for event in events}):
        release(end - LENGTH - delay)
        mine = sorted(e for e in events if e[0] // LENGTH * LENGTH + LENGTH == end)
        for kind in (0, CLICKS, CONVERSIONS):
            for time, partition, offset, key in mine:
                if (partition if partition >= CLICKS else 0) != kind:
                    continue
                shown = waiting.get(key)
                place = partition, offset
                if kind == 0:
                    if shown is not None:
                        told[place] = "duplicates"
                        continue
                    waiting[key] = {
                        "shown": time, "window": end, "partition": partition, "offset": offset
                    }  # fmt: skip
                    continue
                before, own, within = (
                    ("shown", "clicked", click_ms)
                    if kind == CLICKS
                    else ("clicked", "converted", conversion_ms)
                )
                if shown is None or before not in shown or time < shown[before]:
                    told[place] = "unmatched"
                elif time - shown[before] >= within:
                    told[place] = "late"
                elif own in shown:
                    told[place] = "duplicates"
                else:
                    shown[own], counted = time, counted + 1
    release(10**15)
    return labels, told, counted


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    events = []
    for partition in (0, 1, CLICKS, CONVERSIONS):
        for offset in range(draw(st.integers(0 if partition else 1, 25))):
            time = START + draw(st.integers(0, 999))
            events.append((time, partition, offset, draw(st.integers(-3, 3))))
    return events


@given(
    streams(),
    st.sampled_from([1, 60, 250]),
    st.sampled_from([1, 100, 400]),
    st.sets(st.integers(0, 9)),
)
def test_labels_and_letters_are_what_a_dict_says_wherever_it_was_restarted(
    events: list[Event], click_ms: int, conversion_ms: int, stops: set[int]
) -> None:
    found = run(events, click_ms, conversion_ms, stops)
    assert found == by_the_event(events, click_ms, conversion_ms)
    labels, told, counted = found
    assert len(labels) + len(told) + counted == len(events)


def test_files_of_three_kinds_become_one_log(tmp_path: Path) -> None:
    spec = replace(PLAIN, event_key="request", label_delay_ms=500)
    times = list(range(10_000, 11_000, 100))
    shown = impressions(times).append_column("request", pa.array([f"r{i}" for i in range(10)]))
    files = write(tmp_path / "in", shown)
    for name, at, of in (
        ("pressed", [10_120, 10_230, 10_399, 10_450], ["r1", "r2", "r0", "r4"]),
        ("bought", [10_200, 10_300, 10_490, 10_690], ["r1", "r3", "r2", "r4"]),
    ):
        pq.write_table(pa.table({"at": at, "request": of}), tmp_path / f"{name}.parquet")
    later = Conversions((str(tmp_path / "bought.parquet"),), 250)
    join = JoinOptions((str(tmp_path / "pressed.parquet"),), "at", "request", 200)
    done = replay(
        replace(
            options(files, tmp_path / "log"),
            spec=spec,
            join=replace(join, conversions=later),
        )
    )
    assert (done.good, done.clicks, done.conversions) == (10, 3, 2)
    assert (done.late, done.unmatched, done.rows) == (2, 1, 18)
    assert "3 clicks + 2 conversions + 1 unmatched" in str(done)
    told = {(x["partition"], x["offset"]): x["reason"] for x in letters(tmp_path / "log")}
    assert told == {
        (1, 2): "it comes after the attribution of its impression",
        (2, 1): "no clicked impression of its key comes before it and waits",
        (2, 2): "it comes after the attribution of its click",
    }


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"join\.conversions: name files, or .* topics"):
        Conversions((), 5)
    with pytest.raises(ConfigError, match=r"join\.conversions\.attribution = 0: must be 1 or more"):
        Conversions(("a",), 0)
    join = JoinOptions(("a",), "at", "key", 6_000, conversions=Conversions(("b",), 6_000))
    with pytest.raises(ConfigError, match=r"join\.attribution and .*conversions.* \(12000ms\)"):
        join.check(SPEC)
