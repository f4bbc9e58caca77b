"""``stream-prune compare``: one log, a grid of runs, one table; nothing is made twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from stream_prune.cli.compare_config import load_grid
from stream_prune.cli.main import run
from stream_prune.comparison.results import Cell
from stream_prune.comparison.series import Series
from stream_prune.errors import ConfigError

ROOT = Path(__file__).parents[2]
GRID = """
base: {base}
folder: {folder}/grid
set:
  source: {{rows: 4000, folder: {folder}/data}}
  model: {{name: dlrm, dim: 4, bottom: [32], top: [48]}}
  tables: {{default_capacity: 500}}
  sparsity: {{parameters: {{warmup_rows: 1000}}, window_rows: 500}}
  drift.slice_rows: 128
  evaluation: {{warmup_rows: 1000, every_windows: 2}}
  registry: {registry}
policies:
  dense: {{sparsity: null, drift: null}}
  frozen: {{sparsity: null, drift: null, learn_rows: 1500}}
  ads:
budgets:
  half: {{macs: 0.5, rows: 0.5}}
seeds: [1, 2]
"""


def written(folder: Path, registry: str = "null", **replaced: str) -> Path:
    text = GRID.format(base=ROOT / "configs" / "synthetic.yaml", folder=folder, registry=registry)
    for before, after in replaced.items():
        text = text.replace(before, after)
    (folder / "grid.yaml").write_text(text, encoding="utf-8")
    return folder / "grid.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A comparison that was made."""
    import shutil

    folder = tmp_path_factory.mktemp("compare")
    shutil.copy(empty_database, folder / "mlflow.db")
    registry = f'{{tracking_uri: "sqlite:///{folder}/mlflow.db", model: ctr}}'
    assert run(["compare", str(written(folder, registry)), "--jobs", "1"]) == 0
    return folder


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "grid" / name).open() as file:
        return list(csv.DictReader(file))


def test_every_cell_of_the_grid_is_a_line_with_its_figures_and_its_difference(
    folder: Path,
) -> None:
    cells = {line["policy"]: line for line in table(folder, "table.csv")}
    assert {name: line["budget"] for name, line in cells.items()} == {
        "dense": "",
        "frozen": "",
        "ads": "half",
    }
    assert {line["seeds"] for line in cells.values()} == {"2"}
    assert cells["dense"]["verdict"] == ""
    for name in ("frozen", "ads"):
        line = cells[name]
        assert line["against"].strip() == "dense"
        assert float(line["low"]) <= float(line["difference"]) <= float(line["high"])
        assert line["verdict"] in ("below", "above", "tie")
    assert float(cells["ads"]["parameters"]) < 0.8 * float(cells["dense"]["parameters"])
    assert float(cells["ads"]["rows"]) < float(cells["dense"]["rows"])
    assert float(cells["ads"]["memory_bytes"]) < float(cells["dense"]["memory_bytes"])
    assert float(cells["dense"]["ne_over_bayes"]) > 1


def test_the_difference_is_that_of_the_runs_own_windows(folder: Path) -> None:
    losses: dict[str, float] = {}
    for name in ("dense", "ads-half"):
        series = [
            Series.read(folder / "grid" / "runs" / f"{name}-{seed}" / "journal.jsonl")
            for seed in (1, 2)
        ]
        losses[name] = sum(float(each.loss[each.after(1000)].sum()) for each in series)
    (ads,) = (line for line in table(folder, "table.csv") if line["policy"] == "ads")
    assert float(ads["difference"]) == pytest.approx(losses["ads-half"] / losses["dense"] - 1)


def test_runs_share_one_log_and_each_has_a_line(folder: Path) -> None:
    lines = table(folder, "runs.csv")
    assert [(line["policy"], line["seed"]) for line in lines] == [
        (policy, seed) for policy in ("dense", "frozen", "ads") for seed in ("1", "2")
    ]
    summaries = [
        json.loads(path.read_text()) for path in (folder / "grid" / "runs").glob("*/summary.json")
    ]
    assert len(summaries) == 6
    assert {each["rows_scored"] for each in summaries} == {4000}
    assert len({each["positives"] for each in summaries}) == 1


def test_the_table_is_in_markdown_too(folder: Path) -> None:
    lines = (folder / "grid" / "table.md").read_text().splitlines()
    assert lines[0].startswith("| policy | budget | seeds | NE | ± | AUC |")
    assert lines[2].startswith("| dense |  | 2 | ")
    assert lines[4].endswith((" better |", " worse |", " tie |"))


def test_runs_are_children_of_one_run_in_mlflow_with_its_tables(folder: Path) -> None:
    from stream_prune.registry.client import connect, mlflow_run
    from stream_prune.registry.config import RegistryConfig

    config = RegistryConfig(f"sqlite:///{folder}/mlflow.db", "ctr", experiment="stream_prune-grid")
    client = connect(config)
    parent = mlflow_run(client, config, "grid")
    experiment = client.get_experiment_by_name("stream_prune-grid").experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert len(children) == 6
    assert all(child.data.metrics["end/ne"] > 0 for child in children)
    assert {file.path for file in client.list_artifacts(parent)} == {
        "table.md",
        "table.csv",
        "runs.csv",
    }
    assert client.get_run(parent).data.metrics["ne/dense"] > 0


def test_what_is_finished_is_not_made_again_and_what_is_missing_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = folder / "grid" / "runs"
    before = {path: path.stat().st_mtime_ns for path in runs.glob("*/summary.json")}
    assert run(["compare", str(folder / "grid.yaml"), "--set", "registry=null"]) == 2
    (runs / "ads-half-2" / "summary.json").unlink()
    assert run(["compare", str(folder / "grid.yaml"), "--set", "set.registry=null"]) == 0
    said = capsys.readouterr().out
    assert "5 of 6 runs are there already" in said
    assert "[1/1," in said
    after = {path: path.stat().st_mtime_ns for path in runs.glob("*/summary.json")}
    assert {path.parent.name for path in after if after[path] != before[path]} == {"ads-half-2"}


def test_a_changed_setting_is_refused_where_runs_were_made_with_another(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ["--set", "set.registry=null", "--set", 'set={"optimizer.lr": 0.5}']
    assert run(["compare", str(folder / "grid.yaml"), *changed]) == 2
    assert "was made with" in capsys.readouterr().err


def test_a_grid_is_every_model_policy_and_budget_and_dense_models_have_none(
    tmp_path: Path,
) -> None:
    models = "models: {small: {model.top: [8]}, large: }\npolicies:"
    grid = load_grid(written(tmp_path, **{"policies:": models, "[1, 2]": "[7]"}))
    assert list(grid.runs) == [
        Cell(model, policy, "half" if policy == "ads" else "")
        for model in ("small", "large")
        for policy in ("dense", "frozen", "ads")
    ]
    small, large = (grid.runs[Cell(m, "ads", "half")][0].training for m in ("small", "large"))
    assert (small.model.top, large.model.top) == ((8,), (48,))
    assert small.sparsity is not None
    assert (small.sparsity.budget.macs, small.seed) == (0.5, 7)
    assert small.run != large.run
    assert small.log == large.log


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("seeds: [1, 2]", "seeds: [1, 1]", "one occurs twice"),
        ("seeds: [1, 2]", "reference: adaptive", "must be one of the policies: dense, frozen, ads"),
        ("macs: 0.5", "macs: 1.5", "ads half: .*macs = 1.5"),
        ("  ads:", "  ads: {optimizer.lr: 0}", "ads half: .*optimizer.lr"),
        ("budgets:", "budgtes:", "budgtes: unknown key; did you mean 'budgets'"),
    ],
)
def test_what_cannot_be_is_told_with_file_and_cell(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    path = written(tmp_path, **{before: after})
    with pytest.raises(ConfigError, match=message) as error:
        load_grid(path)
    assert str(error.value).startswith(str(path))


def test_every_cell_is_compared_at_the_learning_rate_that_other_seeds_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = "search: {rates: [0.0001, 1], seeds: [7]}\nartifacts: true\npolicies:"
    path = written(tmp_path, **{"policies:": search, "[1, 2]": "[1]", "rows: 4000": "rows: 2500"})
    frozen = "  frozen: {sparsity: null, drift: null, learn_rows: 1500}\n"
    path.write_text(path.read_text().replace(frozen, ""))
    assert run(["compare", str(path), "--jobs", "1"]) == 0
    said = capsys.readouterr().out
    assert "learning rates: 2 for each of 2 cells" in said
    tried = table(tmp_path, "rates.csv")
    assert [(line["policy"], line["times"], line["chosen"]) for line in tried] == [
        (policy, times, str(int(times == "1.0")))
        for policy in ("dense", "ads")
        for times in ("0.0001", "1.0")
    ]
    assert float(tried[1]["ne"]) < float(tried[0]["ne"])
    made = json.loads((tmp_path / "grid" / "runs" / "dense-1" / "config.json").read_text())
    assert made["optimizer"]["lr"] == float(tried[1]["rate"])
    sizes = {line["policy"]: float(line["artifact_bytes"]) for line in table(tmp_path, "runs.csv")}
    assert 0 < sizes["ads"] < sizes["dense"]
    assert run(["compare", str(path), "--jobs", "1"]) == 0  # nothing is tried or made again
    said = capsys.readouterr().out
    assert "4 of 4 runs are there already" in said
    assert "2 of 2 runs are there already" in said


def test_a_rate_is_not_judged_on_the_seed_that_chose_it(tmp_path: Path) -> None:
    path = written(tmp_path, **{"policies:": "search: {rates: [1, 2], seeds: [2]}\npolicies:"})
    with pytest.raises(ConfigError, match=r"search.seeds = \[2\]: must have none of seeds"):
        load_grid(path)
