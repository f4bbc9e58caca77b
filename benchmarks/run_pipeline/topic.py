"""A topic full of clicks: 4 partitions, flat Avro events of about 130 bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.avro_format import AvroFormat
from beam_jobs.decode import Formats
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.log_source import FileSource
from beam_jobs.produce.log import PlayedLog
from beam_jobs.produce.options import ProduceOptions
from beam_jobs.produce.play import play
from beam_jobs.stream_options import StreamOptions
from stream_prune.features import FeatureSpec

TOPIC, SEED = "clicks", 1
WINDOW_MS, SLACK_MS, PER_SECOND = 10_000, 1_000, 20_000
SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "click",
        "dense": ["price", "age", "score"],
        "categorical": [
            "user",
            "agent",
            {"name": "item", "type": "integer"},
            {"name": "shop", "type": "integer"},
            "country",
        ],
    }
)


def fill(broker: LocalKafka, folder: Path, events: int) -> float:
    """Write the events into the topic; returns the mean size of a message in bytes."""
    rng = np.random.default_rng(SEED)
    times = np.arange(events) * 1000 // PER_SECOND + 1_700_000_000_000
    agents = np.array([f"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 {v}" for v in range(40)])
    table = pa.table(
        {
            "time": pa.array(times, pa.timestamp("ms")),
            "click": rng.random(events) < 0.1,
            "price": rng.random(events) * 100,
            "age": rng.integers(18, 90, events).astype(float),
            "score": rng.random(events),
            "user": pa.array(np.char.add("user-", rng.integers(0, 100_000, events).astype(str))),
            "agent": pa.array(agents[rng.integers(0, 40, events)]),
            "item": rng.integers(0, 50_000, events),
            "shop": rng.integers(0, 500, events),
            "country": pa.array(np.array(["de", "us", "fr", "jp"])[rng.integers(0, 4, events)]),
        }
    )
    pq.write_table(table, folder / "clicks.parquet")
    play(
        PlayedLog(FileSource((folder / "clicks.parquet",)), SPEC, 1),
        SPEC,
        KafkaSettings(broker.bootstrap, (TOPIC,), client="confluent"),
        ProduceOptions(format="avro", topic=TOPIC),
        window_ms=WINDOW_MS,
        out_of_orderness_ms=SLACK_MS,
        schemas=folder,
    )
    data = sum(f.stat().st_size for f in broker.folder.rglob(f"{TOPIC}-*/*.log"))
    return data / events


def job(broker: LocalKafka, folder: Path, log: Path, client: str, epoch_rows: int) -> StreamOptions:
    """The job on the topic; its epochs end by count alone."""
    return StreamOptions(
        kafka=KafkaSettings(broker.bootstrap, (TOPIC,), client=client),
        spec=SPEC,
        log=log,
        window_ms=WINDOW_MS,
        out_of_orderness_ms=SLACK_MS,
        forms=Formats("avro", avro=AvroFormat(schema=folder / "1.avsc")),
        dead_letters="folder",
        epoch_ms=60_000,
        epoch_rows=epoch_rows,
    )
