"""Every file in configs/ is run, on a slice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stream_prune.cli.config import load
from stream_prune.cli.main import run
from stream_prune.datasets import load as load_dataset
from stream_prune.features import load_spec

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
FEATURES = [path for path in CONFIGS if path.parent.name == "features"]
COMPARISONS = [path for path in CONFIGS if path.name == "compare.yaml"]
SERVING = [path for path in CONFIGS if path.name == "serving.yaml"]  # run in tests/serving/
STREAMS = [path for path in CONFIGS if path.name.startswith("stream")]  # run in tests/kafka/
RECOMMENDERS = [path for path in CONFIGS if path.parent.name == "recommend"]
JOBS = [
    path
    for path in CONFIGS
    if path not in (*FEATURES, *COMPARISONS, *SERVING, *STREAMS, *RECOMMENDERS)
]
# What a policy does first, moved into the slice.
EARLY = {"sparsity.window_rows": 200, "evaluation.warmup_rows": 100}
PARAMETERS = {
    "ads": {"warmup_rows": 600},
    "ads_shadow": {"warmup_rows": 600, "every_rows": 400, "distill_rows": 200},
    "amgp": {"warmup_rows": 600, "total_rows": 1_400, "cycles": 1},
    "dsl_units": {"every_rows": 400},
    "rate_on_drift": {},
    "static": {"warmup_rows": 600},
}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clicks with the columns of configs/own-log.yaml."""
    import random

    random.seed(1)
    folder = tmp_path_factory.mktemp("clicks")
    lines = ["time,clicked,price,age,user,item,country"]
    for i in range(1_500):
        item = random.randrange(50)
        lines.append(
            f"2024-01-{1 + i // 288:02}T{i // 12 % 24:02}:{i % 12 * 5:02}:00Z,"
            f"{int(random.random() < (0.6 if item % 2 else 0.2))},{random.random():.3f},"
            f"{random.randrange(90)},u{random.randrange(80)},i{item},de"
        )
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "clicks.csv"


@pytest.mark.parametrize("path", JOBS, ids=[str(path.relative_to(ROOT)) for path in JOBS])
def test_a_configuration_runs(
    path: Path,
    events: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(ROOT)
    config = load(path)
    changes: dict[str, object] = {"run": tmp_path / "run", "log": tmp_path / "log"}
    assert config.source is not None
    if config.source.dataset is None:
        changes["source.files"] = f"[{events}]"
    else:
        # Kept from one test run to the next: a data set that is downloaded is so only once.
        folder = request.config.cache.mkdir(config.source.dataset)
        changes |= {"source.rows": 1_500, "source.folder": folder}
    if config.training.sparsity is not None:
        parameters = PARAMETERS[config.training.sparsity.policy]
        changes |= EARLY | {f"sparsity.parameters.{key}": v for key, v in parameters.items()}
    if config.training.elements is not None:
        changes["elements.parameters.every"] = 2
    changes["registry"] = "null"  # curves in MLflow are the end-to-end test's
    arguments = [f"--set={key}={value}" for key, value in changes.items()]
    assert run(["replay", str(path), *arguments]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["rows_scored"] == 1_500
    assert 0 < summary["ne"] < 2
    policy = None
    if config.training.sparsity is not None:
        policy = config.training.sparsity.policy
        assert (summary["shrinks"] >= 1) == (policy not in ("ads_shadow", "rate_on_drift"))
        assert (summary["derivations"] >= 2) == (policy == "ads_shadow")
        assert (summary["rewirings"] >= 1) == (policy == "dsl_units")
        full = policy in ("amgp", "rate_on_drift")  # the one ends so, the other stays so
        assert (summary["macs_inference"] <= summary["dense_macs_inference"] / 2) == (not full)
    compared = config.training.control is not None or policy == "ads_shadow"
    assert ("reference" in summary) == compared
    if config.training.elements is not None:
        assert summary["rewirings"] >= 1
        assert summary["parameters"] < summary["dense_parameters"] / 4


@pytest.mark.parametrize("path", COMPARISONS, ids=[path.name for path in COMPARISONS])
def test_a_comparison_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(ROOT)
    changes = {
        "folder": tmp_path,
        "seeds": "[1]",
        "set.source": f"{{rows: 1500, folder: {request.config.cache.mkdir('synthetic')}}}",
        "set.evaluation.warmup_rows": 300,
        "set.sparsity": "{parameters: {warmup_rows: 600}, window_rows: 200}",
        "policies.frozen.learn_rows": 600,
    }
    arguments = [f"--set={key}={value}" for key, value in changes.items()]
    assert run(["compare", str(path), *arguments]) == 0
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 + 2 * 2  # three that have no budget, two that have both


@pytest.mark.parametrize("path", FEATURES, ids=[path.name for path in FEATURES])
def test_a_feature_file_describes_its_data_set(path: Path) -> None:
    assert load_spec(path) == load_dataset(path.stem).SPEC


@pytest.mark.parametrize("path", RECOMMENDERS, ids=[path.name for path in RECOMMENDERS])
def test_a_recommender_trains(
    path: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.config.cache.mkdir("ml-100k")
    changes = [f"--set=folder={folder}", f"--set=run={tmp_path}", "--set=epochs=1"]
    assert run(["recommend", str(path), *changes]) == 0
    assert "test pairs, all items ranked: Recall@20" in capsys.readouterr().out
    figures = json.loads((tmp_path / "model.json").read_text())["figures"]
    assert 0 < figures["recall@20"] < 1
