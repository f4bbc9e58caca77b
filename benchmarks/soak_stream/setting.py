"""Topics full of events with faults, the job and the trainer as processes, and what they left."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from kafka import KafkaConsumer, TopicPartition

from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.letter_topic import PREFIX
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.log_source import FileSource
from beam_jobs.produce.log import PlayedLog
from beam_jobs.produce.options import Faults, Idle, ProduceOptions
from beam_jobs.produce.play import play
from stream_prune.features import OFFSET, PARTITION, FeatureSpec
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.folder_log import FolderLog

SEED = 1
LOAD = 20_000  # events a second
SPARSE = 4_000  # events a second of event time, elsewhere: more windows
WINDOW_S, SLACK_S = 5, 1
FEATURES = {
    "event_time": "time",
    "label": "click",
    "event_key": "id",
    "dense": ["price"],
    "categorical": ["user", {"name": "item", "type": "integer"}],
}
SPEC = FeatureSpec.from_dict(FEATURES)
FAULTS = Faults(
    duplicates=0.01,
    disorder=0.02,
    corrupt=0.001,
    late=0.005,
    idle=Idle(partition=3, start=0.25, stop=0.75),
)
PROGRAM = "from stream_prune.cli.main import main; main()"


def clicks(folder: Path, events: int, per_second: int) -> Path:
    """A log of events, so many a second of event time."""
    rng = np.random.default_rng(SEED)
    times = np.arange(events) * 1000 // per_second + 1_700_000_000_000
    item = rng.integers(0, 2_000, events)
    table = pa.table(
        {
            "time": pa.array(times, pa.timestamp("ms")),
            "click": rng.random(events) < np.where(item % 3 == 0, 0.5, 0.1),
            "price": rng.random(events),
            "user": pa.array(np.char.add("u", rng.integers(0, 5_000, events).astype(str))),
            "item": item,
        }
    )
    path = folder / f"clicks-{events}-{per_second}.parquet"
    pq.write_table(table, path)
    return path


def fill(
    broker: LocalKafka,
    folder: Path,
    topic: str,
    events: int,
    faults: Faults = FAULTS,
    rate: int | None = None,
) -> Path:
    """Play the events into a topic of 4 partitions; returns the ledger.

    With a ``rate`` (events a second) event time passes as the clock does.
    """
    ledger = folder / f"{topic}.ledger.parquet"
    play(
        PlayedLog(FileSource((clicks(folder, events, rate or SPARSE),)), SPEC, 1),
        SPEC,
        KafkaSettings(broker.bootstrap, (topic,), client="confluent"),
        ProduceOptions(format="avro", topic=topic, faults=faults, seed=SEED, rate=rate),
        window_ms=WINDOW_S * 1000,
        out_of_orderness_ms=SLACK_S * 1000,
        ledger=ledger,
        schemas=folder,
    )
    return ledger


def begun(broker: LocalKafka, topic: str) -> bool:
    """Whether a topic has messages."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    try:
        there = consumer.partitions_for_topic(topic) or ()
        places = [TopicPartition(topic, number) for number in there]
        return any(consumer.end_offsets(places).values())
    finally:
        consumer.close()


def configuration(
    broker: LocalKafka,
    folder: Path,
    topic: str,
    name: str,
    *,
    log: str | None = None,
    client: str = "confluent",
    **stream: object,
) -> Path:
    """The YAML file of a job and its trainer; log and run are named after ``name``."""
    values = {
        "run": str(folder / f"{name}.run"),
        "log": str(folder / f"{log or name}.log"),
        "source": {
            "kafka": {"bootstrap": broker.bootstrap, "topics": [topic], "client": client},
            "format": "avro",
            "avro": {"schema": str(folder / "1.avsc")},
        },
        "features": FEATURES,
        "windows": {
            "length": f"{WINDOW_S}s",
            "out_of_orderness": f"{SLACK_S}s",
            "batch_rows": 4096,
        },
        "stream": {"dead_letters": f"{name}.dlq", **stream},
        "max_bad_share": 0.05,
        "threads": 1,
        "model": {"name": "dlrm", "dim": 8, "bottom": [32], "top": [32]},
        "tables": {"default_capacity": 3_000},
        "checkpoint": {"every_windows": 2},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def start(command: str, config: Path, *options: str) -> subprocess.Popen[bytes]:
    """A command of the program as a process; what it prints goes to a file beside the config."""
    with config.with_suffix(f".{command}.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, command, str(config), *options],
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def finish(command: str, config: Path, *options: str) -> None:
    """Run a command to its end, which must be a good one."""
    if start(command, config, *options).wait() != 0:
        raise RuntimeError(config.with_suffix(f".{command}.txt").read_text()[-2000:])


def windows(log: Path) -> str:
    """A digest of all that is equal in all runs."""
    parts = [(c.window_end, c.batches, c.end) for _, c in FolderLog.open(log).commits(0)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def weights(run: Path) -> str:
    """A digest of the tensors of the last checkpoint."""
    last = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
    files = sorted(last.rglob("*.safetensors"))
    assert files, last
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def unaccounted(broker: LocalKafka, ledger: Path, log: Path, letters: str) -> dict[str, int]:
    """How many messages are not where the ledger says; all zero if every one is, once."""
    wanted = pq.read_table(ledger)
    place = wanted["partition"].to_numpy().astype(np.int64) << 40 | wanted["offset"].to_numpy()
    good = np.array(wanted["kind"].to_pylist()) == "good"
    kept = np.concatenate([*_kept(log), np.zeros(0, np.int64)])
    told = _letters(broker, letters)
    kinds = dict(
        zip(place[~good].tolist(), np.array(wanted["kind"].to_pylist())[~good], strict=True)
    )
    return {
        "good events missing": int((~np.isin(place[good], kept)).sum()),
        "rows that are none of the good events": int((~np.isin(kept, place[good])).sum()),
        "rows there twice": len(kept) - len(np.unique(kept)),
        "dead letters missing": len(set(kinds) - set(told)),
        "dead letters of another kind": sum(
            set(found) != {kinds.get(p)} for p, found in told.items()
        ),
        "dead letters there twice": sum(map(len, told.values())) - len(told),
    }


def _kept(log: Path) -> list[np.ndarray]:
    folder = FolderLog.open(log)
    found = []
    for _, commit in folder.commits(0):
        for ref in commit.batches:
            batch = folder.read_arrow(BatchName(commit.window_end, 0, ref.index), ref)
            partition = batch.column(PARTITION).to_numpy().astype(np.int64)
            found.append(partition << 40 | batch.column(OFFSET).to_numpy())
    return found


def _letters(broker: LocalKafka, topic: str) -> dict[int, list[str]]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest")
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    found: dict[int, list[str]] = {}
    while consumer.position(place) < end:
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                own = {k.removeprefix(PREFIX): v.decode() for k, v in record.headers}
                key = int(own["partition"]) << 40 | int(own["offset"])
                found.setdefault(key, []).append(own["kind"])
    consumer.close()
    return found


def ledger_counts(ledger: Path) -> dict[str, int]:
    """Messages by what a job must make of them."""
    return dict(Counter(pq.read_table(ledger)["kind"].to_pylist()))


def job_counts(log: Path) -> dict[str, int]:
    """The job's own reconciliation."""
    from stream_prune.cli.reconciled import reconciled

    return asdict(reconciled(log))


def lines(file: Path) -> list[dict[str, object]]:
    """The lines of a metrics file."""
    return [json.loads(line) for line in file.read_text().splitlines()]
