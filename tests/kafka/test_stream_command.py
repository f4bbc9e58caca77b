"""``stream-prune stream`` as people start and stop it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from streams import SLACK, SPEC, WINDOW, counts, fill, kept

from beam_jobs.local_kafka import LocalKafka
from stream_prune.cli.main import run

NewTopic = Callable[..., str]


def configuration(broker: LocalKafka, topic: str, folder: Path) -> Path:
    values = {
        "run": str(folder / "run"),
        "log": str(folder / "log"),
        "source": {
            "kafka": {"bootstrap": broker.bootstrap, "topics": [topic]},
            "format": "json",
        },
        "features": SPEC.to_dict(),
        "windows": {"length": f"{WINDOW}ms", "out_of_orderness": f"{SLACK}ms"},
        "max_bad_share": 0.1,
        "threads": 1,
        "model": {"name": "dlrm", "dim": 4, "bottom": [8], "top": [8]},
        "tables": {"default_capacity": 100},
    }
    path = folder / "stream.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_filled_back_and_trained_beside_it_says_what_became_of_every_event(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    topic = new_topic()
    wanted = counts(fill(broker, topic, tmp_path / "in", rows=2_000))
    path, metrics = configuration(broker, topic, tmp_path), tmp_path / "metrics" / "m.jsonl"
    done = run(["stream", str(path), "--to-end", "--train", "--metrics", str(metrics)])
    out = capfd.readouterr().out
    assert done == 0, out
    letters = sum(wanted.values()) - wanted["good"]
    told = " + ".join(
        f"{wanted[kind]:,} {kind}"
        for kind in ("good", "late", "duplicates", "invalid", "undecodable")
    )
    assert f"events: {sum(wanted.values()):,} rows = {told}; " in out
    assert f"; {letters:,} dead letters in {topic}.dlq" in out
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rows_scored"] == wanted["good"]
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert sum(line["rows"] for line in lines) == sum(wanted.values())
    assert lines[-1]["counts"]["good"] == wanted["good"]


def test_sigterm_ends_it_after_its_epoch_and_it_goes_on_from_there(
    broker: LocalKafka, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic = new_topic()
    wanted = counts(fill(broker, topic, tmp_path / "in", rows=2_000))
    path = configuration(broker, topic, tmp_path)
    program = "from stream_prune.cli.main import main; main()"
    job = subprocess.Popen(
        [sys.executable, "-c", program, "stream", str(path)], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "log" / "log.json").exists() or not kept(tmp_path / "log"):
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert "stopped: " in out
    assert "the next run reads them again" in out
    assert run(["stream", str(path), "--to-end"]) == 0
    assert len(kept(tmp_path / "log")) == wanted["good"]


def test_a_configuration_without_topics_or_with_a_secret_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("run: r\nlog: l\nsource: {dataset: flights}\nmodel: {name: dlrm}\n")
    assert run(["stream", str(path)]) == 2
    assert "source.kafka: is missing: name brokers and topics to read" in capsys.readouterr().err
    text = "run: r\nlog: l\nsource: {format: json, kafka: {bootstrap: 'a:1', topics: [t], "
    path.write_text(text + "consumer: {sasl_plain_password: hunter2}}}\nmodel: {name: dlrm}\n")
    assert run(["stream", str(path)]) == 2
    told = capsys.readouterr().err
    assert "consumer.sasl_plain_password: a secret must not stand in a file" in told
    assert "hunter2" not in told
    path.write_text(text.replace("json", "auto") + "}}\nmodel: {name: dlrm}\n")
    assert run(["stream", str(path)]) == 2
    assert "`format` must be avro or json where `kafka` is named" in capsys.readouterr().err
