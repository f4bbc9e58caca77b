from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stream_prune.cli.config import load, named
from stream_prune.cli.job import JOB, save_job
from stream_prune.errors import ConfigError

BASE = """
run: runs/a
log: runs/log
source: {files: [events.csv]}
features: {event_time: t, label: y, categorical: [c]}
sparsity: {budget: {macs: 0.2}}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "a.yaml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sparsity.budget.macs=1.4", "sparsity.budget.macs = 1.4: must be in (0, 1]"),
        ("sparsity.budget.mac=1", "sparsity.budget.mac: unknown key; did you mean 'macs'?"),
        ("sparsitty=1", "sparsitty: unknown key; did you mean 'sparsity'?"),
        ("optimizer.lr=0", "optimizer.lr = 0.0: must be greater than 0"),
        ("optimizer.lr=fast", "optimizer.lr = 'fast': must be a valid number"),
        ("windows.length=6x", "windows.length = '6x': write a number and one of ms, s, min, h, d"),
        ("windows.length=0s", "windows.length = '0s': must be greater than 0"),
        ("max_bad_share=2", "max_bad_share = 2: must be at most 1.0"),
        ("source.dataset=flights", "name one of `kafka`, `dataset` and `files`"),
        (
            "source.format=orc",
            "source.format = 'orc': must be one of 'auto', 'parquet', 'csv', 'avro', 'jsonl' or",
        ),
        ("sparsity.policy=prune", "sparsity.policy = 'prune': must be one of ads, "),
        ("evaluation.every_windows=0", "evaluation.every_windows = 0: must be 1 or more"),
        ("tables.capacity={c: -1}", "tables.capacity.c = -1: must be 0 or more"),
        ("model.bottom=[8, 0]", "bottom[1] = 0: must be 1 or more"),
        ("run=null", "run = None: "),
        ("registry.model=a", "registry.tracking_uri: is missing, and has no default"),
    ],
)
def test_a_wrong_value_is_named_with_file_key_value_and_what_is_allowed(
    write, change: str, said: str
) -> None:
    path = write(BASE)
    with pytest.raises(ConfigError) as error:
        load(path, [change])
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)


def test_all_wrong_keys_are_told_at_once(write) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(BASE), ["sed=1", "source.fils=1", "max_bad_share=2"])
    assert len(str(error.value).splitlines()) == 3


def test_a_file_extends_another_key_by_key(write) -> None:
    write(BASE + "optimizer: {name: adagrad, lr: 0.5}\n", "base.yaml")
    config = load(write("extends: base.yaml\nrun: b\noptimizer: {lr: 0.25}\nsparsity: null\n"))
    assert config.training.run == Path("b")
    assert config.training.optimizer.lr == 0.25
    assert config.training.optimizer.name == "adagrad"
    assert config.training.sparsity is None


def test_files_that_extend_each_other_in_a_circle_are_refused(write) -> None:
    write("extends: a.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match="in a circle"):
        load(write("extends: b.yaml\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "line 1, column 6: is no YAML"),
        ("- 1", "must be a mapping"),
        ("training: {}", "training: unknown key"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_by_name(write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("change", ["seed", "=1", "a..b=1"])
def test_a_change_without_key_or_value_is_refused(write, change: str) -> None:
    with pytest.raises(ConfigError, match="write key=value"):
        load(write(BASE), [change])


def test_a_policys_own_parameter_is_named_as_it_stands_in_the_file(write) -> None:
    path = write(BASE)
    changes = ["sparsity.parameters.warmup_rows=-1"]
    with pytest.raises(ConfigError) as error, named(path, changes):
        raise ConfigError("ads.warmup_rows = -1: must not be negative")
    expected = "sparsity.parameters.warmup_rows = -1: must not be negative"
    assert str(error.value) == f"{path}: {expected}"


def test_what_is_kept_beside_a_run_reads_back_as_the_same_configuration(
    write, tmp_path: Path
) -> None:
    config = load(write(BASE), ["windows.length=6h", "tables.capacity={c: 7}"])
    save_job(config, tmp_path)
    again = load(tmp_path / JOB)
    assert again == config
    assert again.windows.length == 6 * 3_600_000
    assert yaml.safe_load((tmp_path / JOB).read_text())["run"] == "runs/a"


def test_the_data_sets_own_columns_serve_where_none_are_named(write) -> None:
    config = load(write("run: a\nlog: b\nsource: {dataset: flights}\n"))
    assert config.spec().label == "arrived_late"


def test_files_without_named_columns_are_refused(write) -> None:
    config = load(write("run: a\nlog: b\nsource: {files: [x.csv]}\n"))
    with pytest.raises(ConfigError, match="features: is missing"):
        config.spec()
