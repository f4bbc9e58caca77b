"""Impressions in one topic, their clicks in another: joined, stopped, gone on with."""

from __future__ import annotations

import json

import numpy as np
import pytest
from kafka import KafkaProducer
from streams import windows

from beam_jobs.join_options import JoinOptions
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.stream import stream
from beam_jobs.stream_options import StreamOptions
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.place import KafkaPlace

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "click",
        "event_key": "impression",
        "label_delay": "1min",
        "dense": ["price"],
        "categorical": ["item"],
    }
)
START, ATTRIBUTION, ROWS = 1_700_000_000_000, 25_000, 900


@pytest.fixture(scope="module")
def events():
    """Impressions by time, clicks by time, and the label of each impression."""
    random = np.random.default_rng(3)
    times = (START + np.cumsum(random.integers(0, 1_000, ROWS))).tolist()
    shown = [
        {"time": t, "impression": f"i{n}", "price": float(n % 5), "item": f"a{n % 7}"}
        for n, t in enumerate(times)
    ]
    labels = dict.fromkeys((event["impression"] for event in shown), 0.0)
    clicks = []
    for n in random.integers(0, ROWS + 30, ROWS // 3).tolist():
        delay = int(random.integers(0, 2 * ATTRIBUTION))
        clicks.append({"at": times[min(n, ROWS - 1)] + delay, "of": f"i{n}"})
        if n < ROWS and delay < ATTRIBUTION:
            labels[f"i{n}"] = 1.0
    return shown, sorted(clicks, key=lambda click: click["at"]), labels


@pytest.fixture
def topics(broker, new_topic, events):
    shown, clicks, _ = events
    names = new_topic(partitions=2), new_topic(partitions=1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=5)
    for n, event in enumerate(shown):
        producer.send(names[0], json.dumps(event).encode(), partition=n % 2)
    for event in clicks:
        producer.send(names[1], json.dumps(event).encode(), partition=0)
    producer.flush()
    producer.close()
    return names


def options(broker, topics, log, **changes):
    values = {
        "kafka": KafkaSettings(broker.bootstrap, (topics[0],)),
        "spec": SPEC,
        "log": log,
        "window_ms": 10_000,
        "batch_rows": 8,
        "dead_letters": "folder",
        "epoch_ms": 200,
        "epoch_rows": 300,
        "join": JoinOptions((), "at", "of", ATTRIBUTION, topics=(topics[1],)),
    }
    return StreamOptions(**(values | changes))


def labels_of(log):
    """Label by partition and offset."""
    found = {}
    for _, commit in log.commits(0):
        for ref in commit.batches:
            batch = log.read_arrow(BatchName(commit.window_end, 0, ref.index), ref)
            for row in batch.to_pylist():
                found[row["__partition"], row["__offset"]] = row["__label"]
    return found


def test_a_joined_stream_is_the_same_wherever_it_is_stopped_and_on_a_topic_too(
    broker, topics, events, tmp_path
):
    _, clicks, labels = events
    expected = {(n % 2, n // 2): labels[f"i{n}"] for n in range(ROWS)}
    whole = stream(options(broker, topics, tmp_path / "whole"), to_end=True)
    assert (whole.good, whole.rows) == (ROWS, ROWS + len(clicks))
    assert whole.clicks == sum(labels.values())
    assert min(whole.unmatched, whole.late, whole.duplicates) > 0
    assert labels_of(open_log(tmp_path / "whole")) == expected
    for stops in (2, 1):
        left = iter(range(stops))
        stream(
            options(broker, topics, tmp_path / "log"),
            to_end=True,
            stop=lambda left=left: next(left, None) is None,
        )
    assert stream(options(broker, topics, tmp_path / "log"), to_end=True) == whole
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    place = KafkaPlace(broker.bootstrap, f"{topics[0]}-log", patience_s=30)
    left = iter(range(2))
    given = options(broker, topics, place)
    stream(given, to_end=True, stop=lambda: next(left, None) is None)
    assert stream(given, to_end=True) == whole
    assert labels_of(open_log(place)) == expected


def test_topics_that_are_both_are_refused(broker, tmp_path):
    with pytest.raises(ConfigError, match=r"join\.topics = \['a'\]: one of them is in source"):
        options(broker, ("a", "a"), tmp_path / "log")
