"""A run on a log in Kafka is the run on the same log in a folder."""

from __future__ import annotations

import threading
import time

import pytest
from training_logs import HOUR, a_spec, drifting_rows, same, weights, write_log

from stream_prune.cli import reconciled
from stream_prune.cli.config import load
from stream_prune.errors import ConfigError
from stream_prune.minibatch.place import KafkaPlace
from stream_prune.training.config import TrainingConfig
from stream_prune.training.trainer import Trainer

SPEC = a_spec()
ROWS = drifting_rows(1500)
HALF = 412 * HOUR


@pytest.fixture
def place(broker, request):
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return KafkaPlace(broker.bootstrap, f"{name}-{time.time_ns()}", patience_s=30)


def a_config(folder, log, **values):
    base = {
        "run": str(folder),
        "log": str(log),
        "model": {"dim": 4, "bottom": [8], "top": [16]},
        "tables": {"default_capacity": 100},
        "checkpoint": {"every_windows": 5},
        "device": "cpu",
    }
    return TrainingConfig.from_dict(base | values)


def test_weights_are_those_of_the_folder_bit_for_bit(place, tmp_path):
    write_log(tmp_path / "log", SPEC, ROWS)
    write_log(place, SPEC, ROWS)
    found = {}
    for name, log in (("folder", tmp_path / "log"), ("topic", place)):
        config = a_config(tmp_path / name, log)
        Trainer(config).run()
        found[name] = weights(config)
    assert same(found["folder"], found["topic"])


def test_a_run_follows_a_topic_and_goes_on_after_a_stop(place, tmp_path):
    write_log(place, SPEC, ROWS, until=HALF, ended=False)
    stopped = a_config(tmp_path / "run", place)
    Trainer(stopped).run()
    following = a_config(tmp_path / "run", place, follow=True)
    writing = threading.Thread(target=lambda: write_log(place, SPEC, ROWS))
    writing.start()
    Trainer(following).run()
    writing.join()
    whole = a_config(tmp_path / "whole", place)
    Trainer(whole).run()
    assert same(weights(following), weights(whole))


def test_the_command_line_knows_topics(place, tmp_path):
    write_log(place, SPEC, ROWS, until=HALF)
    file = tmp_path / "job.yaml"
    file.write_text(f"run: {tmp_path}/run\nlog: {place}\n")
    settings = load(file)
    assert settings.training.log == KafkaPlace(place.servers, place.topic)
    assert f"{place.topic}.dlq" in reconciled.letters(settings.training.log)
    kept = settings.model_dump(mode="json")["training"]
    assert TrainingConfig.from_dict(kept).log == settings.training.log
    assert TrainingConfig.from_dict(settings.training.to_dict()) == settings.training


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("kafka://nowhere/topic", r"log\.servers = 'nowhere': must be host:port"),
        ("kafka://a:1", r"log = 'kafka://a:1': names no topic"),
        ("kafka://a:1/a b", r"log\.topic = 'a b': must be"),
        ({"servers": "a:1"}, r"log\.topic = None: must be text"),
        ({"servers": "a:1", "topic": "t", "x": 1}, r"log\.x: unknown key"),
        ({"servers": "a:1", "topic": "t", "patience_s": 0}, r"log\.patience_s = 0: must be"),
        (5, r"log = 5: must be a folder, kafka://"),
    ],
)
def test_a_place_that_is_none_is_refused(log, message):
    with pytest.raises(ConfigError, match=message):
        TrainingConfig.from_dict({"run": "r", "log": log})
