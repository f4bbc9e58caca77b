"""What the tests of a joined stream share: impressions, their clicks, and the labels to come."""

from __future__ import annotations

import json

import numpy as np
from kafka import KafkaProducer

from beam_jobs.join_options import JoinOptions
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.stream_options import StreamOptions
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName

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


def make_events():
    """Impressions by time, clicks by time, and the label of each impression by its place."""
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
    places = {(n % 2, n // 2): labels[f"i{n}"] for n in range(ROWS)}
    return shown, sorted(clicks, key=lambda click: click["at"]), places


def send(broker, names, events):
    """Impressions into two partitions of one topic, clicks into one of another."""
    shown, clicks, _ = events
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=5)
    for n, event in enumerate(shown):
        producer.send(names[0], json.dumps(event).encode(), partition=n % 2)
    for event in clicks:
        producer.send(names[1], json.dumps(event).encode(), partition=0)
    producer.flush()
    producer.close()


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
