"""Models are published while a run trains; a registry that is away costs nothing but time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from clicks_csv import lines, write_config, write_csv

from stream_prune.artifact import ModelCard, Scorer
from stream_prune.cli import publisher
from stream_prune.cli.config import load
from stream_prune.cli.example_rows import like
from stream_prune.cli.publisher import Publisher
from stream_prune.encoding import encode
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.reader import windows
from stream_prune.registry.history import versions
from stream_prune.registry.publications import PUBLICATIONS, Publications

AWAY = "http://127.0.0.1:9"  # the discard service's port: nobody listens
PROGRAM = Path(sys.executable).with_name("stream-prune")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that was trained and published at its end while the registry was away."""
    folder = tmp_path_factory.mktemp("job")
    write_csv(folder / "events.csv", lines(1_500))
    config = write_config(
        folder,
        registry={"tracking_uri": AWAY, "model": "ctr"},
        publish={"at_end": True},
        artifact={"rows": "int8"},
        checkpoint={"every_windows": 5, "keep": 9},
    )
    done = subprocess.run(
        [str(PROGRAM), "replay", str(config)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder / "run", done


def test_training_ends_well_though_the_registry_is_away_and_the_model_waits(trained):
    run, done = trained
    (waiting,) = Publications(run).waiting()
    assert waiting.why == "the end of the log"
    assert Scorer.load(run / waiting.artifact).card.numbers == "int8"
    assert f"its models wait for the registry: {AWAY}: connecting to MLflow failed" in done.stderr
    assert f"publish {run} sends them, in order" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (run / ".held").exists()


@pytest.fixture
def job(trained, registry_config):
    """The run without its publications, its configuration, and a registry that answers."""
    run, _ = trained
    (run / PUBLICATIONS).unlink(missing_ok=True)
    config = load(run / "job.yaml")
    settings = replace(config.publish, every_windows=5, spool=2)
    return run, config.model_copy(update={"publish": settings}), registry_config


def test_what_waited_goes_out_in_order_and_the_oldest_are_dropped(
    job, monkeypatch, capsys, tmp_path
):
    run, config, registry = job
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    checkpoints = sorted((run / "checkpoints").glob("0*"))[:3]
    at_work = Publisher(run, config)
    for checkpoint in checkpoints:
        monkeypatch.setattr(publisher, "_newest", lambda _, found=checkpoint: found)
        at_work.look()
    steps = [int(checkpoint.name) for checkpoint in checkpoints]
    assert [line.step for line in Publications(run).waiting()] == steps[1:]
    assert f"step {steps[0]} is not published: more than 2 wait" in capsys.readouterr().err
    artifact = run / Publications(run).waiting()[0].artifact
    assert ModelCard.read(artifact).lineage.checkpoint == str(checkpoints[1])

    back = config.model_copy(update={"registry": registry})
    again = Publisher(run, back)  # as after a restart: nothing is built twice
    again.look()
    found = versions(registry)
    assert [version.step for version in found] == [str(step) for step in steps[1:]]
    assert found[-1].aliases == ("candidate", "champion") or found[-1].refused
    assert Publications(run).waiting() == []
    again.look()
    assert len(versions(registry)) == 2


def test_a_checkpoint_that_goes_while_it_is_held_is_passed_over(job, monkeypatch):
    run, config, _ = job
    gone = run / "checkpoints" / "0000099999"
    monkeypatch.setattr(publisher, "_newest", lambda _: gone)

    def iterdir(path):
        raise FileNotFoundError(path)

    at_work = Publisher(run, config)
    at_work._schedule.due = lambda step: "now"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", iterdir)
        at_work.look()
    assert Publications(run).lines() == []


def test_rows_like_those_of_a_stream_are_encoded_as_they_were(trained):
    run, _ = trained
    log = open_log(run.parent / "log")
    *_, last = windows(log)
    batch = log.read(*last.batches[-1], log.spec)
    rows = like(batch, log.spec)
    encoded = encode(log.spec, rows.to_batches()[0], labels=False)
    assert encoded.good.all()
    prices = encoded.batch.column("price").to_numpy()
    assert prices == pytest.approx(batch.dense[-len(rows) :, 0], rel=1e-5)
