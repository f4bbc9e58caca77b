"""Every click model, dense and kept by ``ads`` at 20 % of its MACs, on three logs.

    python benchmarks/models.py [--quick] [--json FILE] [--work FOLDER] [--jobs N]
                                [--logs A,B] [--models A,B]

The flights of 2013, MovieLens 100K in time order (is the rating 4 or 5), and 300,000 events of the
synthetic click log with its six drifts. Models have about equal widths; embedding rows are at full
capacity for all. Each model and variant learns at its own best learning rate, found with one seed
of its own over the first 20 % of the stream (four of them, each twice the one before, and up to
three beyond the edge where the best lies there); figures are of the rows after that, over two other
seeds, and prequential. The difference of ``ads`` and dense is paired over windows, with the 95 %
interval of a block bootstrap; what lies inside it or inside the seeds' spread is called a tie.

Examples/s are of a training step alone (look-ups, head, both updates), on one core, all models
taking turns on the same batches, in processor time. Bytes are of float32 weights, rows included.

Finished runs are kept in the work folder and not made again; an interrupted one goes on from its
checkpoint. ``--quick``: shortened logs, one seed, one rate.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compare_models.figures import figures, lines, table
from compare_models.heads import LOGS, MODELS, SHORT_LOGS, compared
from compare_models.speed import examples_per_s
from compare_policies.logs import prepare
from compare_policies.schedule import Schedule
from compare_policies.study import SEARCH_SEED, study
from policies import chosen
from record import Figure, finish, parser

from stream_prune.errors import ConfigError, RunError

SEEDS = (1, 2)
WIDER = 3
"""Rates beyond the edge of those that every model tries, for one whose best lies there."""


def main() -> int:
    options = parser("Every click model, dense and kept by ads at 20 % of its MACs, on three logs.")
    options.add_argument("--work", type=Path, default=Path("runs/models"), metavar="FOLDER")
    options.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at once")
    options.add_argument("--logs", default="", metavar="A,B", help="only these logs")
    options.add_argument("--models", default="", metavar="A,B", help="only these models")
    given = options.parse_args()
    work = given.work / ("quick" if given.quick else "full")
    seeds = SEEDS[:1] if given.quick else SEEDS
    try:
        logs = chosen("--logs", given.logs, {log.name: log for log in _logs(given.quick)})
        models = tuple(chosen("--models", given.models, MODELS))
        told, tables, found = list[Figure](), list[str](), dict[str, Any]()
        with Schedule(given.jobs) as schedule:
            for name, log in logs.items():
                stream = prepare(log, work / name)
                folder = work / name / "runs"
                made = study(
                    stream,
                    compared(stream, models),
                    seeds,
                    folder,
                    schedule,
                    wider=0 if given.quick else WIDER,
                )
                speeds = examples_per_s(stream, models, rounds=2 if given.quick else 8)
                of_log = lines(made, models, speeds)
                tables.append(table(name, made, of_log))
                print("\n" + tables[-1], flush=True)
                told += figures(name, of_log)
                found[name] = {
                    "rows": log.rows,
                    "searched": made.searched,
                    "lines": {line: asdict(value) for line, value in of_log.items()},
                }
    except (ConfigError, RunError) as error:
        print(f"{error}\nWhat is finished lies in {work}; start again to go on.")
        return 1
    settings = {"seeds": list(seeds), "search_seed": SEARCH_SEED, "jobs": given.jobs}
    finish(told, given.json, **settings, logs=found)
    if given.json is not None:
        given.json.with_suffix(".md").write_text("\n".join(tables), encoding="utf-8")
    return 0


def _logs(quick: bool) -> Any:
    return SHORT_LOGS if quick else LOGS


if __name__ == "__main__":
    sys.exit(main())
