"""The streaming job against a real broker: nothing lost, nothing twice, whatever comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from running_job import send
from streams import (
    FAULTS,
    SPEC,
    WINDOW,
    counts,
    fill,
    forms,
    kept,
    letters_in_folder,
    letters_in_topic,
    options,
    reconcile,
    windows,
)

from beam_jobs.decode import Formats
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.local_kafka import LocalKafka
from beam_jobs.produce.options import Faults, Idle
from beam_jobs.stream import stream
from beam_jobs.stream_job import Epoch
from beam_jobs.stream_options import StreamOptions
from stream_prune.errors import ConfigError, RunError
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.place import KafkaPlace

NewTopic = Callable[..., str]


@pytest.mark.parametrize("form", ["json", "avro", "confluent"])
def test_every_good_event_is_in_one_mini_batch_and_every_other_a_dead_letter_with_its_reason(
    broker: LocalKafka, new_topic: NewTopic, client: str, form: str, tmp_path: Path
) -> None:
    topic = new_topic()
    faults = replace(FAULTS, schema_change=0.5) if form == "confluent" else FAULTS
    ledger = fill(broker, topic, tmp_path / "in", form=form, faults=faults)
    log = tmp_path / "log"
    given = options(
        broker, topic, log, client=client, forms=forms(form, tmp_path / "in"), dead_letters="topic"
    )
    seen: list[Epoch] = []
    done = stream(given, to_end=True, progress=seen.append)
    wanted = counts(ledger)
    assert {kind: getattr(done, kind) for kind in wanted} == wanted
    assert min(wanted[k] for k in ("late", "duplicates", "invalid", "undecodable")) >= 10
    records = letters_in_topic(broker, f"{topic}.dlq")
    own = [{k: v.decode() for k, v in record.headers if v is not None} for record in records]
    places = [
        (int(h["stream_prune.partition"]), int(h["stream_prune.offset"]), h["stream_prune.kind"])
        for h in own
    ]
    reconcile(ledger, log, places)
    assert all(h["stream_prune.reason"] and h["stream_prune.topic"] == topic for h in own)
    assert sum(epoch.rows for epoch in seen) == len(ledger)
    assert seen[-1].lag == seen[-1].open_rows == 0
    assert stream(given, to_end=True) == done


def test_a_dead_letter_is_the_original_with_its_key_value_and_headers(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic(1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    good = b'{"time": 5, "clicked": 1, "price": 1, "user": "u", "hour": 3, "id": "a"}'
    for key, value, headers in (
        (b"k0", good, []),
        (b"k1", b"\xff{", [("trace", b"\x00\x01")]),
        (None, good.replace(b"3,", b"3.5,"), []),
        (b"k3", None, []),
        (b"k4", good.replace(b"a", b"b"), [("trace", b"2")]),
    ):
        producer.send(topic, key=key, value=value, headers=headers)
    producer.close()
    given = options(broker, topic, tmp_path / "log", client=client, max_bad_share=1.0)
    done = stream(replace(given, dead_letters=f"{topic}.bad"), to_end=True)
    assert (done.good, done.undecodable, done.rows) == (2, 3, 5)
    found = letters_in_topic(broker, f"{topic}.bad")
    assert [(r.key, r.value) for r in found] == [
        (b"k1", b"\xff{"), (None, good.replace(b"3,", b"3.5,")), (b"k3", None),
    ]  # fmt: skip
    assert found[0].headers[:1] == [("trace", b"\x00\x01")]
    reasons = [dict(r.headers)["stream_prune.reason"].decode() for r in found]
    assert "is no JSON event" in reasons[0]
    assert reasons[1:] == ["column 'hour': 3.5: a category is text, an integer or a boolean",
                           "has no value"]  # fmt: skip
    stream(replace(given, log=tmp_path / "other"), to_end=True)
    told = letters_in_folder(tmp_path / "other")
    assert told[0]["value"] == {"base64": "/3s="}
    assert told[0]["headers"][0] == ["trace", "\x00\x01"]
    assert told[0]["source"] == f"{topic}[0]"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_topics_are_read(
    broker: LocalKafka, new_topic: NewTopic, client: str, codec: str, tmp_path: Path
) -> None:
    topic = new_topic(2, compression_type=codec)
    ledger = fill(broker, topic, tmp_path / "in", rows=300, faults=Faults())
    done = stream(options(broker, topic, tmp_path / "log", client=client), to_end=True)
    assert done.good == len(ledger) == 300


def test_both_clients_and_any_size_of_epochs_write_the_same_log(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path
) -> None:
    pytest.importorskip("confluent_kafka")
    topic = new_topic()
    fill(broker, topic, tmp_path / "in")
    for name, client, rows in (("a", "kafka-python", 10_000), ("b", "confluent", 300)):
        given = options(broker, topic, tmp_path / name, client=client, epoch_rows=rows)
        stream(given, to_end=True)
    assert windows(tmp_path / "a") == windows(tmp_path / "b")


def test_the_log_may_be_topics_of_the_same_cluster(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic = new_topic()
    fill(broker, topic, tmp_path / "in", rows=1_000)
    place = KafkaPlace(broker.bootstrap, f"{topic}.batches")
    given = options(broker, topic, tmp_path / "folder")
    done = stream(given, to_end=True)
    left = [2]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    stream(replace(given, log=place, epoch_rows=200), stop=stop)
    assert stream(replace(given, log=place), to_end=True) == done
    found = [
        (c.window_end, [(b.rows, b.digest) for b in c.batches], c.end)
        for _, c in open_log(place).commits(0)
    ]
    assert found == windows(tmp_path / "folder")


def test_rows_of_transactions_that_were_rolled_back_are_no_events(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic(1)
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, transactional_id=topic)
    producer.init_transactions()
    text = '{"time": %d, "clicked": 1, "price": 1, "user": "u", "hour": 3, "id": "%d"}'
    for number, commits in enumerate((True, False, True)):
        producer.begin_transaction()
        producer.send(topic, value=(text % (number, number)).encode())
        if commits:
            producer.commit_transaction()
        else:
            producer.flush()
            producer.abort_transaction()
    producer.close()
    log = tmp_path / "log"
    done = stream(options(broker, topic, log, client=client), to_end=True)
    assert done.rows == done.good == 2
    assert kept(log) == [(0, 0), (0, 4)]


def test_stopped_and_started_again_it_goes_on_as_if_it_had_not_been(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic()
    ledger = fill(broker, topic, tmp_path / "in")
    given = options(broker, topic, tmp_path / "log", client=client, epoch_rows=400, group="g")
    for epochs in (3, 6, 1):
        left = [epochs]

        def stop(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        stream(given, stop=stop)
    stream(given, to_end=True)
    whole = replace(given, log=tmp_path / "whole")
    done = stream(whole, to_end=True)
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    found = [(x["partition"], x["offset"], x["kind"]) for x in letters_in_folder(tmp_path / "log")]
    reconcile(ledger, tmp_path / "log", found)
    with pytest.raises(RunError, match="the log has ended"):
        stream(given)
    assert stream(given, to_end=True) == done
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    committed = admin.list_group_offsets("g")
    admin.close()
    assert committed


def test_a_far_future_event_time_is_held_against_the_brokers_clock(
    broker: LocalKafka, new_topic: NewTopic, client: str, tmp_path: Path
) -> None:
    topic = new_topic(1, message_timestamp_type="LogAppendTime")
    now = int(time.time() * 1000)
    send(broker, topic, 0, [now, now + 10 * WINDOW, now - 1000 * WINDOW, now + 1])
    given = options(broker, topic, tmp_path / "log", client=client, max_jump_ms=WINDOW)
    done = stream(replace(given, max_bad_share=1.0), to_end=True)
    assert (done.good, done.invalid, done.late) == (2, 1, 1)
    reasons = {x["offset"]: x["reason"] for x in letters_in_folder(tmp_path / "log")}
    assert "after the broker took the event" in reasons[1]


def test_too_many_bad_events_stop_the_job_and_are_in_the_dead_letters_once(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic = new_topic(1)
    faults = replace(FAULTS, corrupt=0.3, idle=Idle())
    ledger = fill(broker, topic, tmp_path / "in", form="avro", faults=faults, partitions=1)
    shape = forms("avro", tmp_path / "in")
    given = options(
        broker, topic, tmp_path / "log", forms=shape, max_bad_share=0.2, dead_letters="topic"
    )
    for _ in range(2):
        with pytest.raises(RunError, match=r"max_bad_share = 0\.2 allows.*offset .*topic '.*dlq'"):
            stream(given, to_end=True)
    done = stream(replace(given, max_bad_share=1.0), to_end=True)
    assert done.undecodable == counts(ledger)["undecodable"]
    records = letters_in_topic(broker, f"{topic}.dlq")
    assert len(records) == sum(kind != "good" for kind in ledger.values())


def test_no_broker_and_wrong_settings_are_told_without_secrets(
    broker: LocalKafka, client: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(f"beam_jobs.{client.replace('-', '_')}_reader.REQUEST_SECONDS", 2.0)
    given = options(broker, "t", tmp_path / "log", client=client)
    nowhere = KafkaSettings("127.0.0.1:9", ("t",), client=client)
    if client == "kafka-python":
        nowhere = replace(nowhere, consumer={"bootstrap_timeout_ms": 2000})
    with pytest.raises(RunError, match=r"no broker answers at 127\.0\.0\.1:9"):
        stream(replace(given, kafka=nowhere))
    with pytest.raises(RunError, match="topic 't-not-there' does not exist"):
        stream(replace(given, kafka=replace(given.kafka, topics=("t-not-there",)),
                       log=tmp_path / "b"))  # fmt: skip
    wrong = replace(given.kafka, consumer={"no_such_setting": 1})
    with pytest.raises(ConfigError, match=r"source\.kafka\.consumer: .*no_such_setting"):
        stream(replace(given, kafka=wrong))
    monkeypatch.setenv("K1_SECRET", "xyzzy")
    name = "sasl.password" if client == "confluent" else "sasl_plain_password"
    secret = replace(given.kafka, consumer={name: "${env:K1_SECRET}", "no_such_setting": "a"})
    with pytest.raises(ConfigError) as error:
        stream(replace(given, kafka=secret))
    assert "xyzzy" not in str(error.value)
    with pytest.raises(ConfigError, match=r"a secret must not stand in a file.*\$\{env:NAME\}"):
        replace(given.kafka, consumer={name: "hunter2"})


def test_other_runners_and_missing_schemas_are_refused(tmp_path: Path) -> None:
    kafka = KafkaSettings("127.0.0.1:9", ("t",))
    given = StreamOptions(kafka=kafka, spec=SPEC, log=tmp_path / "log", window_ms=WINDOW)
    with pytest.raises(ConfigError, match=r"stream\.runner = 'PrismRunner': is refused: .*lose"):
        replace(given, runner="PrismRunner")
    with pytest.raises(ConfigError, match=r"source\.avro: is missing"):
        replace(given, forms=Formats("avro"))
