"""The quick start's four models on the flights, each at its own best learning rate, three seeds.

    python benchmarks/quickstart.py [--quick] [--json FILE]

The learning rate of each policy is searched on two seeds of its own over the same stream, the
same grid for all; then every policy runs with it on the seeds that are reported, one after the
other on one thread, so that speeds compare. Figures are prequential: every flight is scored before
its label is known, the label counts as known a day after departure. The adaptive settings in
configs/quickstart were chosen on this stream as well: no figure here is of a held-out log.
``--quick``: the first 100,000 flights, one seed to search on and one to report.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from record import Figure, arguments, finish
from rich.console import Console

from stream_prune.cli.config import load
from stream_prune.cli.job import run_replay
from stream_prune.training.trainer import Trainer

POLICIES = ("dense", "small_dense", "static", "adaptive")
RATES = (0.0005, 0.0007, 0.001, 0.0014, 0.002, 0.0028)
SEARCH_SEEDS: tuple[int, ...] = (100, 101)
SEEDS: tuple[int, ...] = (1, 2, 3)
CONFIGS = Path(__file__).parent.parent / "configs" / "quickstart"

Summary = dict[str, Any]


def main() -> None:
    options = arguments("The quick start's four models, at their best rates, over three seeds.")
    count, rows = (1, 100_000) if options.quick else (None, None)
    search_seeds, seeds = SEARCH_SEEDS[:count], SEEDS[:count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        changes = [f"log={folder}/log", f"source.folder={folder}/data"]
        changes += [] if rows is None else [f"source.rows={rows}"]
        run_replay(load(CONFIGS / "dense.yaml", changes), Console())
        rates = {policy: search(policy, folder, changes, search_seeds) for policy in POLICIES}
        runs = {
            policy: [train(policy, folder, changes, rates[policy], seed) for seed in seeds]
            for policy in POLICIES
        }
    print_table(runs, rates)
    found = figures(runs)
    finish(
        found,
        options.json,
        seeds=list(seeds),
        search_seeds=list(search_seeds),
        rows=rows,
        rates=rates,
        runs=runs,
    )


def search(policy: str, folder: Path, changes: list[str], seeds: tuple[int, ...]) -> float:
    """The learning rate with the lowest prequential NE on the search seeds."""
    found = {
        rate: mean([train(policy, folder, changes, rate, seed) for seed in seeds], "ne")
        for rate in RATES
    }
    best = min(found, key=lambda rate: found[rate])
    print(policy, {rate: round(ne, 4) for rate, ne in found.items()}, "best", best, flush=True)
    return best


def train(policy: str, folder: Path, changes: list[str], rate: float, seed: int) -> Summary:
    """One run over the whole log; returns its summary."""
    run = folder / f"{policy}-{rate}-{seed}"
    own = [f"run={run}", f"seed={seed}", f"optimizer.lr={rate}", "device=cpu", "threads=1"]
    return Trainer(load(CONFIGS / f"{policy}.yaml", changes + own).training).run()


def mean(runs: list[Summary], *path: str) -> float:
    return statistics.fmean(_at(run, path) for run in runs)


def _at(run: Summary, path: tuple[str, ...]) -> float:
    value: Any = run
    for key in path:
        value = value[key]
    return float(value)


def print_table(runs: dict[str, list[Summary]], rates: dict[str, float]) -> None:
    print(f"\n{'':12}{'rate':>8}{'NE':>9}{'+-':>8}{'AUC':>8}{'MACs':>9}{'rows':>7}{'ex/s':>9}")
    for policy, found in runs.items():
        spread = max(run["ne"] for run in found) - min(run["ne"] for run in found)
        macs = mean(found, "mean_macs_inference_after_warmup")
        rows = mean(found, "max_rows_used_share")
        speed = mean(found, "clock", "examples_per_s_after_warmup")
        print(
            f"{policy:12}{rates[policy]:8}{mean(found, 'ne'):9.4f}{spread / 2:8.4f}"
            f"{mean(found, 'auc'):8.4f}{macs:9,.0f}{rows:7.2f}{speed:9,.0f}"
        )
    print()


def figures(runs: dict[str, list[Summary]]) -> list[Figure]:
    """What the quick start promises, as ratios within this run."""
    dense, small, static, adaptive = (runs[policy] for policy in POLICIES)
    macs = mean(adaptive, "mean_macs_inference_after_warmup") / mean(dense, "macs_inference")
    rows = max(run["max_rows_capacity_share"] for run in adaptive)
    loss = 100 * (mean(adaptive, "ne") / mean(dense, "ne") - 1)
    ahead = 100 * (mean(static, "ne") / mean(adaptive, "ne") - 1)
    small_ahead = 100 * (mean(small, "ne") / mean(adaptive, "ne") - 1)
    clock = ("clock", "examples_per_s_after_warmup")
    learning = ("clock", "examples_per_s_learning_after_warmup")
    speed = mean(adaptive, *clock) / mean(dense, *clock)
    return [
        Figure(
            "adaptive MACs of dense, mean after warm-up", macs, "share", "<= 0.25", macs <= 0.25
        ),
        Figure("adaptive rows of full, at any moment", rows, "share", "<= 0.2", rows <= 0.2),
        Figure("adaptive NE above dense", loss, "%", "<= 0.3", loss <= 0.3),
        Figure("static NE above adaptive", ahead, "%", "> 0", ahead > 0),
        Figure("small dense NE above adaptive", small_ahead, "%"),
        Figure("adaptive speed over dense, whole loop", speed, "x", ">= 1.5", speed >= 1.5),
        Figure(
            "adaptive speed over dense, learning alone",
            mean(adaptive, *learning) / mean(dense, *learning),
            "x",
        ),
    ]


if __name__ == "__main__":
    main()
