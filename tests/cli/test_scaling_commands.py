"""``fit-scaling`` on finished runs, and ``advise`` from replay to proposal."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest

from stream_prune.cli import advise
from stream_prune.cli.main import run
from stream_prune.evaluation.compare import Difference
from stream_prune.scaling.advice import Measured
from stream_prune.scaling.points import points
from stream_prune.scaling.power_law import PowerLaw

ROOT = Path(__file__).parents[2]
LAW = PowerLaw(30.0, 0.6, 0.7)


def written(folder: Path, name: str, parameters: int, ne: float, policy: str | None = None) -> Path:
    """A run folder with what a fit looks at."""
    place = folder / name
    place.mkdir()
    sparsity = None if policy is None else {"policy": policy}
    (place / "config.json").write_text(
        json.dumps({"sparsity": sparsity, "elements": None, "model": {"dim": 16}})
    )
    summary = {
        "parameters": parameters,
        "rows_capacity": {"user": 10, "item": 5},
        "ne_after_warmup": ne,
        "mean_macs_inference_after_warmup": 2.0 * parameters,
        "mean_macs_training_with_lookups": 6.0 * parameters,
        "rows_learned": 100,
    }
    (place / "summary.json").write_text(json.dumps(summary))
    rows = [
        {"kind": "window", "labelled": 50, "positives": 20, "logloss": 0.6, "window_end": i,
         "macs_training": 1, "clock": {"seconds": 0.0}}
        for i in range(64)
    ]  # fmt: skip
    (place / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(1)
    made = []
    for size in (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000):
        for seed in range(2):
            for policy in (None, "ads"):
                ne = LAW.at(size) * float(np.exp(0.0005 * rng.standard_normal()))
                made.append(written(folder, f"{policy}-{size}-{seed}", size, ne, policy))
    return made


def test_a_law_is_told_per_policy_with_intervals_and_its_test(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "scaling.html"
    sizes = ["--predict", "200000", "--predict", "5e6"]
    arguments = [*map(str, runs), "--along", "width", "-o", str(page), *sizes]
    assert run(["fit-scaling", *arguments]) == 0
    said = capsys.readouterr().out
    assert "dense: NE = a x^-b + c, x: parameters of the dense part; 14 points" in said
    assert "ads: NE = a x^-b + c" in said
    assert "fitted without the largest sizes it is off by" in said
    assert "at 200,000: NE 0.7" in said
    assert "no prediction at 5,000,000" in said or "no prediction at 5e+06" in said
    text = page.read_text(encoding="utf-8")
    assert "dense: 95 % band" in text
    assert "<script src" not in text


def test_runs_give_points_along_every_axis(runs: list[Path]) -> None:
    ads, dense = sorted(points(runs, "macs"), key=lambda each: each.name)
    assert (ads.name, dense.name) == ("ads", "dense")
    assert dense.x.min() == 200
    assert points(runs[:1], "dim")[0].x.tolist() == [16]
    assert points(runs[:1], "rows")[0].x.tolist() == [15]
    assert points(runs[:1], "compute")[0].x.tolist() == [60_000]
    (data,) = points(runs[:1], "data")
    assert (np.diff(data.x) > 0).all()
    assert data.x.max() < 64 * 50
    assert np.ptp(data.loss) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--along", "depth"], 2, "--along depth: must be one of data, width"),
        (["--along", "dim"], 1, "1 distinct sizes, 5 are needed"),
    ],
)
def test_what_cannot_be_fitted_is_told(
    runs: list[Path], arguments: list[str], code: int, message: str, capsys
) -> None:
    assert run(["fit-scaling", *map(str, runs), *arguments]) == code
    assert message in capsys.readouterr().err


def test_advise_replays_smaller_models_proposes_budgets_and_replays_the_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(advise, "SHARES", (0.5,))
    base = tmp_path / "base.yaml"
    base.write_text(
        f"""
extends: {ROOT / "configs" / "synthetic.yaml"}
source: {{rows: 4000, folder: {tmp_path}/data}}
model: {{name: dlrm, dim: 4, bottom: [32], top: [48]}}
tables: {{default_capacity: 500}}
sparsity: {{parameters: {{warmup_rows: 1000}}, window_rows: 500}}
evaluation: {{warmup_rows: 1000, every_windows: 2}}
"""
    )
    arguments = [str(base), "--folder", str(tmp_path / "out"), "--seeds", "1", "--jobs", "1"]
    assert run(["advise", *arguments, "--tolerance", "60%"]) == 0
    said = capsys.readouterr().out
    for part in ("MACs: 50.0%", "embedding rows: 50.0%", "embedding dimension: 50.0%"):
        assert part in said
    assert "together: NE " in said
    assert "within the tolerance of +60.00 %" in said
    assert "--set 'model.dim=2'" in said
    assert "--set 'sparsity.budget.macs=0.5'" in said
    summary = json.loads((tmp_path / "out" / "runs" / "proposal-1-1" / "summary.json").read_text())
    dense = json.loads((tmp_path / "out" / "runs" / "full-1" / "summary.json").read_text())
    assert summary["parameters"] < dense["parameters"]
    assert sum(summary["rows_capacity"].values()) < sum(dense["rows_capacity"].values())


def told(value: float, half: float = 0.0005, share: float = 1.0) -> Measured:
    return Measured(share, Difference(value, value - half, value + half, (value,), ()), (0.8,))


class Replayed:
    """Replays of which the combination costs more than its parts; ``made`` by name."""

    full = (0.8,)
    grid = MagicMock()

    def __init__(self, *_: object) -> None:
        self.made: dict[str, dict[str, float]] = {}
        Replayed.last = self

    def changes(self, shares: dict[str, float]) -> dict[str, float]:
        return {f"sparsity.budget.{axis}": share for axis, share in shares.items()}

    def run(self, sizes: dict[str, dict[str, float]], _: object) -> dict[str, Measured]:
        self.made |= sizes
        return {
            name: told(0.0007 * sum(v < 1 for v in size.values()) ** 2)
            for name, size in sizes.items()
        }


def test_less_is_proposed_where_the_combination_costs_more_than_its_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {axis: [told(0.001, share=0.5)] for axis in ("macs", "rows", "dim")}
    monkeypatch.setattr(advise, "_Replays", Replayed)
    monkeypatch.setattr(advise, "_measure", lambda *_: half)
    monkeypatch.setattr("stream_prune.cli.job.run_replay", Mock())
    assert run(["advise", str(ROOT / "configs" / "synthetic.yaml"), "--tolerance", "0.4%"]) == 0
    cuts = [sum(v < 1 for v in size.values()) for size in Replayed.last.made.values()]
    assert cuts == [3, 1]
    said = capsys.readouterr().out
    assert "not surely within the tolerance" in said
    assert said.splitlines()[-2].startswith("replayed: NE +0.07 % (+0.02 % to +0.12 %), within")


def test_a_tolerance_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(ROOT / "configs" / "synthetic.yaml")
    assert run(["advise", config, "--tolerance", "none"]) == 2
    assert "--tolerance none: must be a share above 0" in capsys.readouterr().err
