from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joined_windows import CLICKS, LENGTH, SPEC, START, closed_windows

from beam_jobs.join import Join
from beam_jobs.join_options import JoinOptions
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import Categorical, Dense, FeatureSpec
from stream_prune.minibatch.commit import Commit


def options(attribution_ms=250, **more):
    return JoinOptions(("clicks",), "at", "key", attribution_ms, **more)


def a_join(attribution_ms=250, **more):
    return Join(LENGTH, options(attribution_ms, **more), lambda numbers: numbers == CLICKS)


def told(window):
    """What a test looks at: the window, its rows with their labels, letters, clicks, the end."""
    rows = []
    if window.rows is not None:
        columns = (window.rows.column(name).to_pylist() for name in ("__partition", "__offset"))
        rows = list(zip(*columns, window.rows.column("__label").to_pylist(), strict=True))
    letters = sorted((x.partition, x.offset, x.kind) for x in window.letters)
    return window.window_end, rows, letters, window.counts.get("clicks", 0), window.end


def by_the_event(events, attribution_ms):
    """The same, event by event with a dict."""
    delay = -(-attribution_ms // LENGTH) * LENGTH
    waiting, found = {}, []
    windows = closed_windows(events)

    def release(end):
        gone = [(key, value) for key, value in waiting.items() if value["window"] == end]
        for key, _ in gone:
            del waiting[key]
        gone.sort(key=lambda pair: pair[1]["order"])
        return [(*value["order"][1:], float(value["clicked"])) for _, value in gone]

    for window in windows:
        letters, clicks = [], 0
        mine = sorted(e for e in events if e[0] // LENGTH * LENGTH + LENGTH == window.window_end)
        for event in [e for e in mine if e[1] != CLICKS]:
            time, partition, offset, key = event
            if key in waiting:
                letters.append((partition, offset, "duplicates"))
            else:
                waiting[key] = {"order": event[:3], "window": window.window_end, "clicked": False}
        for time, partition, offset, key in [e for e in mine if e[1] == CLICKS]:
            shown = waiting.get(key)
            if shown is None or time < shown["order"][0]:
                letters.append((partition, offset, "unmatched"))
            elif time - shown["order"][0] >= attribution_ms:
                letters.append((partition, offset, "late"))
            elif shown["clicked"]:
                letters.append((partition, offset, "duplicates"))
            else:
                shown["clicked"], clicks = True, clicks + 1
        end = window.window_end - delay
        found.append((end, release(end), sorted(letters), clicks, False))
    while waiting:
        end += LENGTH
        found.append((end, release(end), [], 0, False))
    found[-1] = (*found[-1][:4], True)
    return found


def run(events, attribution_ms, stops=()):
    """Windows that go out; at each of ``stops`` a new join takes up what the commits have left."""
    join, commits, store, out = a_join(attribution_ms), [], {}, []

    def read(name, digest):
        return pa.ipc.open_file(pa.py_buffer(store[name])).get_batch(0)

    for number, closed in enumerate(closed_windows(events)):
        if number in stops:
            join = a_join(attribution_ms)
            join.restore(commits, read)
        for window in join.take(closed):
            store.update(window.state)
            for name in window.forget:
                store.pop(name, None)
            names = tuple((name, "digest") for name, _ in window.state)
            commits.append(Commit(window.window_end, 0, 1, SPEC.fingerprint, state=names))
            out.append(window)
    return out


@st.composite
def streams(draw):
    events = []
    for partition in (0, 1, CLICKS):
        for offset in range(draw(st.integers(0 if partition else 1, 25))):
            time = START + draw(st.integers(0, 999))
            events.append((time, partition, offset, draw(st.integers(-5, 5))))
    return events


@given(streams(), st.sampled_from([1, 60, 100, 250, 2000]), st.sets(st.integers(0, 9)))
def test_what_goes_out_is_what_a_dict_says_wherever_it_was_restarted(events, attribution, stops):
    expected = by_the_event(events, attribution)
    whole = run(events, attribution)
    assert [told(window) for window in whole] == expected
    again = run(events, attribution, stops)
    assert again == whole


@given(streams(), st.sampled_from([60, 250]))
def test_every_event_comes_out_once(events, attribution):
    found = [told(window) for window in run(events, attribution)]
    places = [(p, o) for _, rows, *_ in found for p, o, _ in rows]
    places += [(p, o) for _, _, letters, *_ in found for p, o, _ in letters]
    impressions = {(p, o) for _, p, o, _ in events if p != CLICKS}
    assert len(places) == len(set(places))
    assert impressions <= set(places)
    assert len(places) + sum(clicks for *_, clicks, _ in found) == len(events)


def test_the_state_is_bounded_by_the_attribution():
    events = [(START + n * 10, 0, n, n) for n in range(2000)]
    join, sizes = a_join(), []
    for closed in closed_windows(events):
        sizes += [len(join.pending) for _ in join.take(closed)]
    assert max(sizes) == 30  # 10 a window, and three windows of 100 ms hold 250 ms


def test_too_many_that_wait_are_a_clear_stop():
    events = [(START + n, 0, n, n) for n in range(90)]
    join = a_join(max_pending=50)
    (closed,) = closed_windows(events)
    with pytest.raises(RunError, match=r"90 impressions wait .* join\.max_pending = 50 allows"):
        list(join.take(closed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"files": ()}, r"join: name its files, or for a streaming job its topics"),
        ({"topics": ("a",)}, r"join: name its files, or for a streaming job its topics"),
        ({"attribution_ms": 0}, r"join\.attribution = 0: must be 1 or more"),
        ({"max_pending": 0}, r"join\.max_pending = 0"),
        ({"key": "at"}, r"join\.key = 'at': must be another column"),
    ],
)
def test_options_out_of_range_are_refused(change, message):
    values = {"files": ("a",), "time": "at", "key": "key", "attribution_ms": 5}
    with pytest.raises(ConfigError, match=message):
        JoinOptions(**(values | change))


def test_a_join_without_a_key_or_with_labels_that_are_not_yet_known_is_refused():
    keyless = FeatureSpec((Dense("x"),), (Categorical("item"),), "y", "time")
    with pytest.raises(ConfigError, match=r"join: impressions have no key"):
        options().check(keyless)
    with pytest.raises(ConfigError, match=r"features\.label_delay = 10000ms: must be at least"):
        options(20_000).check(SPEC)
