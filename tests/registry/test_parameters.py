"""A run's configuration is seen in MLflow as the parameters of its run."""

import json

from mlflow import MlflowClient

from stream_prune.registry.client import connect, mlflow_run
from stream_prune.registry.mlflow_sink import CURSOR, MlflowSink
from stream_prune.registry.parameters import parameters


def start(folder, config):
    line = {"run": "r", "step": 0, "kind": "start", "config": config}
    (folder / "journal.jsonl").write_text(json.dumps(line) + "\n")


def sent(registry_config):
    client = connect(registry_config)
    return client.get_run(mlflow_run(client, registry_config, "r")).data


def test_the_configuration_becomes_parameters_with_dots(tmp_path, registry_config):
    start(tmp_path, {"seed": 0, "optimizer": {"name": "adam", "lr": 0.003}, "drift": None})
    assert MlflowSink(tmp_path, registry_config).forward().failure is None
    assert sent(registry_config).params == {
        "seed": "0",
        "optimizer.name": "adam",
        "optimizer.lr": "0.003",
        "drift": "null",
    }


def test_any_value_is_a_text_that_mlflow_takes():
    config = {"top": [16, 8], "follow": True, "capacity": {}, "user:id": "x" * 9000}
    assert parameters(config) == {
        "top": "[16, 8]",
        "follow": "true",
        "capacity": "{}",
        "user_id": "x" * 5000,
    }
    assert parameters({}) == {}
    assert len(next(iter(parameters({"n" * 300: 1})))) == 250


def test_many_parameters_and_long_ones_all_arrive(tmp_path, registry_config):
    start(tmp_path, {"capacity": {f"table {i}": i for i in range(250)}, "note": "x" * 9000})
    assert MlflowSink(tmp_path, registry_config).forward().failure is None
    found = sent(registry_config).params
    assert len(found) == 251
    assert found["capacity.table 249"] == "249"
    assert found["note"] == "x" * 5000


def test_parameters_are_sent_once_and_again_without_harm(tmp_path, registry_config, monkeypatch):
    start(tmp_path, {"seed": 1})
    MlflowSink(tmp_path, registry_config).forward()
    before = sent(registry_config)
    (tmp_path / CURSOR).unlink()  # as if the sink was killed before it stored it
    assert MlflowSink(tmp_path, registry_config).forward().lines == 1
    assert sent(registry_config).to_dictionary() == before.to_dictionary()

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(MlflowClient, "log_batch", never)
    assert MlflowSink(tmp_path, registry_config).forward().lines == 0


def test_a_run_begun_anew_with_other_values_shows_both(tmp_path, registry_config):
    start(tmp_path, {"seed": 1, "threads": 1})
    MlflowSink(tmp_path, registry_config).forward()
    (tmp_path / CURSOR).unlink()
    start(tmp_path, {"seed": 1, "threads": 4})
    assert MlflowSink(tmp_path, registry_config).forward().failure is None
    found = sent(registry_config)
    assert found.params == {"seed": "1", "threads": "1"}
    changed = {k: v for k, v in found.tags.items() if "changed" in k}
    assert changed == {"stream_prune.changed.threads": "4"}
