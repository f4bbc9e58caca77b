"""What the tests of the streaming job share: clicks with faults, and what became of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from kafka import KafkaConsumer, TopicPartition

from beam_jobs.avro_format import AvroFormat
from beam_jobs.decode import Formats
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.log_source import FileSource
from beam_jobs.produce.log import PlayedLog
from beam_jobs.produce.options import Faults, Idle, ProduceOptions
from beam_jobs.produce.play import play
from beam_jobs.stream_options import StreamOptions
from stream_prune.features import EVENT_TIME, OFFSET, PARTITION, FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog

STEP_MS, WINDOW, SLACK = 250, 60_000, 10_000
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "clicked",
        "event_key": "id",
        "dense": ["price"],
        "categorical": ["user", {"name": "hour", "type": "integer"}],
    }
)
FAULTS = Faults(
    duplicates=0.02,
    disorder=0.05,
    late=0.01,
    corrupt=0.01,
    invalid=0.01,
    idle=Idle(partition=2, start=0.25, stop=0.75),
)
Ledger = dict[tuple[int, int], str]
"""What a job must make of the message at (partition, offset)."""


def fill(
    broker: LocalKafka,
    topic: str,
    folder: Path,
    rows: int = 4_000,
    form: str = "json",
    faults: Faults = FAULTS,
    **options: Any,
) -> Ledger:
    """Play ``rows`` clicks into a topic; Avro schemas go to ``folder``."""
    rng = np.random.default_rng(5)
    events = pa.table(
        {
            "time": pa.array(np.arange(rows) * STEP_MS, pa.timestamp("ms")),
            "clicked": rng.integers(0, 2, rows).astype(bool),
            "price": rng.random(rows),
            "user": pa.array([f"u{i}" for i in rng.integers(0, 50, rows)]),
            "hour": rng.integers(0, 24, rows),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(events, folder / "clicks.parquet")
    book = folder / "ledger.parquet"
    play(
        PlayedLog(FileSource((folder / "clicks.parquet",)), SPEC, 1),
        SPEC,
        KafkaSettings(broker.bootstrap, (topic,)),
        ProduceOptions(format=form, faults=faults, **options),
        window_ms=WINDOW,
        out_of_orderness_ms=SLACK,
        ledger=book,
        schemas=folder,
    )
    columns = pq.read_table(book).to_pydict()
    places = zip(columns["partition"], columns["offset"], strict=True)
    return dict(zip(places, columns["kind"], strict=True))


def options(broker: LocalKafka, topic: str, log: Path, **changes: Any) -> StreamOptions:
    """A job on a topic: windows of a minute, small epochs."""
    kafka = {"client": "kafka-python", "group": None, "start": "earliest", "consumer": {}}
    kafka |= {name: changes.pop(name) for name in list(changes) if name in kafka}
    values: dict[str, Any] = {
        "kafka": KafkaSettings(broker.bootstrap, (topic,), **kafka),
        "spec": SPEC,
        "log": log,
        "window_ms": WINDOW,
        "out_of_orderness_ms": SLACK,
        "batch_rows": 64,
        "max_bad_share": 0.1,
        "dead_letters": "folder",
        "epoch_ms": 200,
        "epoch_rows": 1_000,
    }
    return StreamOptions(**{**values, **changes})


def forms(kind: str, folder: Path) -> Formats:
    """How the messages that :func:`fill` sent are decoded."""
    if kind == "json":
        return Formats("json")
    if kind == "avro":
        return Formats("avro", avro=AvroFormat(schema=folder / "1.avsc"))
    ids = {int(path.stem): path for path in folder.glob("*.avsc")}
    return Formats("avro", avro=AvroFormat(framing="confluent", ids=ids))


def windows(log: Path) -> list[tuple[int, list[tuple[int, str]], bool]]:
    """Of each commit what is equal in all runs."""
    return [
        (c.window_end, [(b.rows, b.digest) for b in c.batches], c.end)
        for _, c in FolderLog.open(log).commits(0)
    ]


def kept(log: Path) -> list[tuple[int, int]]:
    """(partition, offset) of every row in a mini-batch."""
    folder = FolderLog.open(log)
    found: list[tuple[int, int]] = []
    for _, commit in folder.commits(0):
        for ref in commit.batches:
            batch = folder.read_arrow(BatchName(commit.window_end, 0, ref.index), ref)
            times = batch.column(EVENT_TIME).to_numpy()
            assert (times >= commit.window_end - WINDOW).all()
            assert (times < commit.window_end).all()
            columns = [batch.column(name).to_pylist() for name in (PARTITION, OFFSET)]
            found += zip(*columns, strict=True)
    return found


def letters_in_folder(log: Path) -> list[dict[str, Any]]:
    import json

    return [
        json.loads(line)
        for path in (log / "dead_letters").iterdir()
        for line in path.read_text().splitlines()
    ]


def letters_in_topic(broker: LocalKafka, topic: str) -> list[Any]:
    """The records of a topic of one partition."""
    return read(broker, topic, 0)


def read(broker: LocalKafka, topic: str, partition: int) -> list[Any]:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    records: list[Any] = []
    while consumer.position(place) < end:
        for part in consumer.poll(timeout_ms=500).values():
            records += part
    consumer.close()
    return records


def reconcile(ledger: Ledger, log: Path, letters: list[tuple[int, int, str]]) -> None:
    """Every good event is in exactly one mini-batch, every other one a dead letter of its kind."""
    rows = kept(log)
    assert len(set(rows)) == len(rows)
    good = {place for place, kind in ledger.items() if kind == "good"}
    assert set(rows) == good
    places = [(partition, offset) for partition, offset, _ in letters]
    assert len(set(places)) == len(places)
    found = {(partition, offset): kind for partition, offset, kind in letters}
    assert found == {place: kind for place, kind in ledger.items() if kind != "good"}


def counts(ledger: Ledger) -> Counter[str]:
    return Counter(ledger.values())
