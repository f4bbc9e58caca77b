"""Every policy beside dense, small dense and static models, at the same budget, on four logs.

    python benchmarks/policies.py [--quick] [--json FILE] [--work FOLDER] [--jobs N]
                                  [--logs A,B] [--policies A,B] [--options]

Policies of units get 20 % of the full model's MACs, those of elements 20 % of its weights (their
MACs are dense); small_dense is a model of 20 % of the MACs from the start, small_dense_on_drift the
same with its learning rate raised for a while after an alarm. Each learns at its own best learning
rate, found with one seed of its own over the first 20 % of the stream, among the same rates for
all; what is reported is of the rows after that, over three other seeds. Embedding rows are at full
capacity for all: this is about units. One setting of each policy serves all logs.

Figures are prequential: each row is scored before its label is known. Recovery is the NE from each
planted drift until 3 % of the stream after it, relative to dense's over the same rows. Differences
are paired over windows, with the 95 % interval of a block bootstrap; what lies inside the interval
or inside the seeds' spread is called a tie.

Runs that are finished are kept in the work folder and not made again; an interrupted one goes on
from its checkpoint. Seconds are of runs side by side, ``--jobs`` at once, one thread each.
``--options`` adds rows for options of policies. ``--quick``: shortened flights and capacity-bound
streams, one seed, three rates.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from compare_policies.contenders import contenders, standard
from compare_policies.logs import LOGS, SHORT_LOGS, Log, prepare
from compare_policies.narrowing import narrowing, sliding_ne
from compare_policies.results import Results, results
from compare_policies.schedule import Schedule
from compare_policies.study import SEARCH_SEED, study
from compare_policies.tables import console, markdown
from compare_policies.wanted import figures
from record import finish, parser

from stream_prune.errors import ConfigError, RunError

SEEDS = (1, 2, 3)
POINTS = 100
"""Points of a curve in the JSON file."""


def main() -> int:
    options = arguments()
    try:
        found = compare(options)
    except (ConfigError, RunError) as error:
        print(f"{error}\nWhat is finished lies in {options.work}; start again to go on.")
        return 1
    print()
    finish(
        figures(found),
        options.json,
        seeds=list(options.seeds),
        search_seed=SEARCH_SEED,
        jobs=options.jobs,
        logs={log.name: record(log) for log in found},
    )
    if options.json is not None:
        table = options.json.with_suffix(".md")
        table.write_text(markdown(found), encoding="utf-8")
        print(f"tables in {table}")
    return 0


def arguments() -> argparse.Namespace:
    options = parser("Every policy beside dense, small dense and static models, on four logs.")
    options.add_argument("--work", type=Path, default=Path("runs/policies"), metavar="FOLDER")
    options.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at once")
    options.add_argument("--logs", default="", metavar="A,B", help="only these logs")
    options.add_argument(
        "--policies", default="", metavar="A,B", help="only these policies, and dense"
    )
    options.add_argument("--options", action="store_true", help="with the policies' options")
    found = options.parse_args()
    found.seeds = SEEDS[:1] if found.quick else SEEDS
    found.work = found.work / ("quick" if found.quick else "full")
    return found


def compare(options: argparse.Namespace) -> list[Results]:
    """All runs that are missing, log by log; prints each log's tables.

    Raises:
        ConfigError: a log or a policy of that name does not exist.
        RunError: a run failed.
    """
    every = {log.name: log for log in (SHORT_LOGS if options.quick else LOGS)}
    logs: dict[str, Log] = chosen("--logs", options.logs, every)
    found = []
    with Schedule(options.jobs) as schedule:
        for log in logs.values():
            stream = prepare(log, options.work / log.name)
            offered = contenders(stream)
            policies = offered if options.options else standard(offered)
            if options.policies:
                named = chosen("--policies", options.policies, offered)
                policies = {"dense": offered["dense"]} | named
            folder = options.work / log.name / "runs"
            found.append(results(study(stream, policies, options.seeds, folder, schedule)))
            print(console(found[-1]), flush=True)
    return found


def chosen(option: str, names: str, every: dict[str, Any]) -> dict[str, Any]:
    """Those of the comma-separated names, all without any.

    Raises:
        ConfigError: a name that does not exist.
    """
    for name in filter(None, names.split(",")):
        if name not in every:
            raise ConfigError(f"{option} {name}: must be among {', '.join(every)}")
    return {name: value for name, value in every.items() if not names or name in names.split(",")}


def record(log: Results) -> dict[str, Any]:
    """A log's results as JSON values; enough to draw its tables and curves again."""
    study = log.study
    saved = narrowing(study)
    return {
        "rows": study.stream.log.rows,
        "drifts": study.stream.drifts,
        "windows": log.windows,
        "block": log.block,
        "searched": {
            policy: {f"{rate:g}": ne if np.isfinite(ne) else None for rate, ne in tried.items()}
            for policy, tried in study.searched.items()
        },
        "at_edge": study.at_edge,
        "policies": {policy: asdict(row) for policy, row in log.rows.items()},
        "differences": {
            policy: {
                name: asdict(value) | {"verdict": value.verdict()} for name, value in each.items()
            }
            for policy, each in log.differences.items()
        },
        "amgp": None if saved is None else asdict(saved),
        "sliding_ne": curves(log),
    }


def curves(log: Results) -> dict[str, list[float]]:
    """Event times (ms), and per policy the NE of the last 5 % of the rows, mean over seeds."""
    series = {
        policy: [run.series for run in runs if run.series is not None]
        for policy, runs in log.study.outcomes.items()
    }
    ends = series["dense"][0].ends
    places = np.unique(np.linspace(0, len(ends) - 1, POINTS).round().astype(int))
    found = {
        policy: [
            round(statistics.fmean(each), 5)
            for each in zip(*(sliding_ne(run)[places] for run in runs), strict=True)
        ]
        for policy, runs in series.items()
    }
    return {"event_time": ends[places].tolist(), **found}


if __name__ == "__main__":
    sys.exit(main())
