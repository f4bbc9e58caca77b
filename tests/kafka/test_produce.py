"""A log played into a real topic, and what the ledger says about it."""

from __future__ import annotations

import io
import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer, TopicPartition
from streams import FAULTS, SLACK, SPEC, STEP_MS, WINDOW

from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.log_source import FileSource
from beam_jobs.produce.log import PlayedLog
from beam_jobs.produce.options import Bursts, Faults, ProduceOptions
from beam_jobs.produce.play import Sent, play
from stream_prune.cli.main import run as run_program
from stream_prune.errors import ConfigError, RunError
from stream_prune.features import FeatureSpec

ROWS = 4_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Clicks, every other one in the second file."""
    rng = np.random.default_rng(5)
    events = pa.table(
        {
            "time": pa.array(np.arange(ROWS) * STEP_MS, pa.timestamp("ms")),
            "clicked": rng.integers(0, 2, ROWS).astype(bool),
            "price": rng.random(ROWS),
            "user": pa.array([f"u{i}" for i in rng.integers(0, 50, ROWS)]).dictionary_encode(),
            "hour": rng.integers(0, 24, ROWS),
        }
    )
    folder = tmp_path_factory.mktemp("clicks")
    for i in range(2):
        pq.write_table(events.take(pa.array(np.arange(i, ROWS, 2))), folder / f"{i}.parquet")
    return folder / "0.parquet", folder / "1.parquet"


def run(
    broker: LocalKafka,
    topic: str,
    files: tuple[Path, ...],
    options: ProduceOptions,
    client: str = "kafka-python",
    *,
    spec: FeatureSpec = SPEC,
    slack: int = SLACK,
    **more: object,
) -> Sent:
    log = PlayedLog(FileSource(files), spec, options.rounds)
    kafka = KafkaSettings(broker.bootstrap, (topic,), client)
    windows = {"window_ms": WINDOW, "out_of_orderness_ms": slack}
    return play(log, spec, kafka, options, **windows, **more)  # type: ignore[arg-type]


def read(broker: LocalKafka, topic: str, count: int) -> dict[tuple[int, int], tuple]:
    """(partition, offset) -> (key, value) of all messages."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, consumer_timeout_ms=30_000)
    places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning()
    assert sum(consumer.end_offsets(places).values()) == count
    found = {
        (m.partition, m.offset): (m.key, m.value)
        for _, m in zip(range(count), consumer, strict=False)
    }
    consumer.close()
    return found


def avro(value: bytes, schema: dict) -> dict:
    buffer = io.BytesIO(value)
    event = fastavro.schemaless_reader(buffer, schema)
    assert buffer.tell() == len(value)
    return event


def test_the_ledger_says_what_every_message_is(
    broker: LocalKafka,
    new_topic: Callable[..., str],
    files: tuple[Path, ...],
    client: str,
    tmp_path: Path,
) -> None:
    topic = new_topic(partitions=3)
    options = ProduceOptions(format="avro", key="user", faults=FAULTS)
    ledger, schemas = tmp_path / "ledger.parquet", tmp_path / "schemas"
    sent = run(broker, topic, files, options, client, ledger=ledger, schemas=schemas)
    rows = pq.read_table(ledger).to_pylist()
    assert sent.messages == len(rows) == ROWS + sent.counts["duplicates"]
    assert sent.counts == dict(Counter(row["kind"] for row in rows))
    assert min(sent.counts.values()) > 20
    messages = read(broker, topic, sent.messages)
    schema = fastavro.parse_schema(json.loads((schemas / "1.avsc").read_text()))
    good, users = set(), {}
    for row in rows:
        key, value = messages[row["partition"], row["offset"]]
        if row["kind"] == "undecodable":
            with pytest.raises((EOFError, IndexError, UnicodeDecodeError)):
                avro(value, schema)
            continue
        event = avro(value, schema)
        assert event["id"] == f"event-{row['row']}"
        assert event["time"].timestamp() * 1000 == row["row"] * STEP_MS
        assert event["user"] == key.decode()
        assert (event["clicked"] == 2) == (row["kind"] == "invalid")
        if not 0.25 * ROWS <= row["row"] < 0.75 * ROWS:
            assert users.setdefault(event["user"], row["partition"]) == row["partition"]
        else:
            assert row["partition"] != 2
        if row["kind"] == "good":
            assert row["row"] not in good
            good.add(row["row"])
    others = {row["row"] for row in rows if row["kind"] not in ("good", "duplicates")}
    assert good | others == set(range(ROWS))
    assert good & others == set()


def test_after_a_schema_change_messages_name_the_other_schema(
    broker: LocalKafka, new_topic: Callable[..., str], files: tuple[Path, ...], tmp_path: Path
) -> None:
    topic = new_topic(partitions=2)
    options = ProduceOptions(format="confluent", schema_id=7, faults=Faults(schema_change=0.5))
    run(broker, topic, files, options, schemas=tmp_path)
    schemas = {
        i: fastavro.parse_schema(json.loads((tmp_path / f"{i}.avsc").read_text())) for i in (7, 8)
    }
    seen = Counter()
    for _, value in read(broker, topic, ROWS).values():
        number = int.from_bytes(value[1:5], "big")
        seen[number] += 1
        event = avro(value[5:], schemas[number])
        assert event.get("written_by") == {7: None, 8: "produce"}[number]
    assert seen == {7: ROWS // 2, 8: ROWS // 2}


def test_a_second_round_goes_on_after_the_first_whole_days_later(
    broker: LocalKafka, new_topic: Callable[..., str], files: tuple[Path, ...], client: str
) -> None:
    topic = new_topic(partitions=1)
    sent = run(broker, topic, files, ProduceOptions(format="json", rounds=2), client)
    events = [json.loads(value) for _, value in read(broker, topic, sent.messages).values()]
    assert sent.messages == sent.counts["good"] == 2 * ROWS
    assert [event["id"] for event in events] == [f"event-{i}" for i in range(2 * ROWS)]
    times = [event["time"] for event in events]
    assert times == sorted(times)
    assert times[ROWS] - times[0] == 86_400_000


def test_a_rate_is_kept_and_a_stop_ends_it_with_an_honest_ledger(
    broker: LocalKafka, new_topic: Callable[..., str], files: tuple[Path, ...], tmp_path: Path
) -> None:
    topic, stop = new_topic(partitions=1), threading.Event()

    def watch(sent: Sent) -> None:
        assert sent.messages <= 2_000 * sent.seconds + 1
        if sent.messages > 500:
            stop.set()

    ledger = tmp_path / "ledger.parquet"
    sent = run(
        broker,
        topic,
        files,
        ProduceOptions(format="json", rate=2_000),
        stop=stop,
        progress=watch,
        ledger=ledger,
    )
    assert 500 < sent.messages < ROWS
    assert len(read(broker, topic, sent.messages)) == pq.read_metadata(ledger).num_rows


def test_what_cannot_be_is_said_before_anything_is_sent(
    files: tuple[Path, ...], broker: LocalKafka
) -> None:
    keyless = FeatureSpec.from_dict({**SPEC.to_dict(), "event_key": None})
    with pytest.raises(ConfigError, match=r"duplicates = 0.1: .*name features.event_key"):
        run(broker, "t", files, ProduceOptions(faults=Faults(duplicates=0.1)), spec=keyless)
    with pytest.raises(ConfigError, match=r"disorder = 0.1: needs windows.out_of_orderness"):
        run(broker, "t", files, ProduceOptions(faults=Faults(disorder=0.1)), slack=0)
    with pytest.raises(ConfigError, match="bare Avro does not say its schema"):
        ProduceOptions(format="avro", faults=Faults(schema_change=0.5))
    with pytest.raises(ConfigError, match=r"bursts of produce.rate: name it"):
        ProduceOptions(faults=Faults(bursts=Bursts(factor=2)))
    with pytest.raises(ConfigError, match="add up to more than 1"):
        Faults(duplicates=0.5, late=0.5, corrupt=0.2)


def test_a_log_that_avro_cannot_hold_says_which_column(
    broker: LocalKafka, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    events = {"time": [0], "clicked": [1], "price": ["cheap"], "user": ["u"], "hour": [3]}
    pq.write_table(pa.table(events), tmp_path / "a.parquet")
    with pytest.raises(RunError, match=r"column 'price': holds what is no double: .*as JSON"):
        run(broker, new_topic(), (tmp_path / "a.parquet",), ProduceOptions(format="avro"))


def test_without_a_broker_it_says_where_none_is(
    files: tuple[Path, ...], client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.produce.waits.ANSWER_S", 0.5)
    kafka = KafkaSettings("127.0.0.1:1", ("t",), client)
    log = PlayedLog(FileSource(files), SPEC)
    with pytest.raises(RunError, match=r"127.0.0.1:1: .*see that a broker runs there"):
        play(
            log, SPEC, kafka, ProduceOptions(format="json"), window_ms=WINDOW, out_of_orderness_ms=0
        )


def test_a_broker_that_goes_away_while_a_log_is_played_is_named(
    files: tuple[Path, ...], client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beam_jobs.produce.waits.WAIT_S", 1.0)
    options = ProduceOptions(format="json", rate=2_000.0)
    with (
        LocalKafka(tmp_path / "kafka") as gone,
        pytest.raises(RunError, match=rf"{gone.bootstrap}: messages cannot be delivered"),
    ):
        run(gone, "clicks", files, options, client, progress=lambda _: gone.kill())


CONFIG = """
run: runs/unused
log: runs/unused-log
source: {{kafka: {{bootstrap: "{bootstrap}", topics: [{topic}]}}, format: json}}
features: {{event_time: time, label: clicked, event_key: id, dense: [price], categorical: [user]}}
windows: {{length: 60s, out_of_orderness: 10s}}
produce:
  log: {{files: ["{folder}/*.parquet"]}}
  partitions: 2
  key: user
  faults: {{late: 0.01}}
model: {{name: dlrm}}
optimizer: {{name: adagrad, lr: 0.01}}
"""


def test_the_command_plays_the_log_of_its_configuration(
    broker: LocalKafka,
    new_topic: Callable[..., str],
    files: tuple[Path, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = new_topic(partitions=2)
    config, ledger = tmp_path / "stream.yaml", tmp_path / "ledger.parquet"
    where = {"bootstrap": broker.bootstrap, "topic": topic, "folder": files[0].parent}
    config.write_text(CONFIG.format(**where))
    assert run_program(["produce", str(config), "--ledger", str(ledger)]) == 0
    kinds = Counter(pq.read_table(ledger).column("kind").to_pylist())
    assert kinds["late"] > 20
    said = capsys.readouterr().out
    assert f"= {kinds['good']:,} good + 0 duplicates + {kinds['late']:,} late" in said
    values = [value for _, value in read(broker, topic, ROWS).values()]
    assert {json.loads(value)["id"] for value in values} == {f"event-{i}" for i in range(ROWS)}


def test_the_command_says_which_key_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "stream.yaml"
    config.write_text(CONFIG.format(bootstrap="127.0.0.1:1", topic="t", folder=tmp_path))
    for change, told in (
        ("produce.faults.late=2", "produce.faults.late = 2.0: must be in [0, 0.5]"),
        ("produce.rate=0", "produce.rate = 0.0: must be above 0"),
        ("produce.faults.idle.partition=2", "produce.faults.idle.partition = 2: must be one of 2"),
        ("produce=null", "produce: is missing: say what to play"),
        ("produce.log=null", "produce.log: is missing: name a dataset or files"),
        ("produce.fault=1", "produce.fault: unknown key; did you mean 'faults'?"),
        ("produce.key=shop", "there is no such file"),
    ):
        assert run_program(["produce", str(config), "--set", change]) == 2
        assert told in capsys.readouterr().err, change
