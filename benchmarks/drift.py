"""Drift detectors on streams with known drifts: how late, how many false alarms, how many missed.

    python benchmarks/drift.py [--quick] [--json FILE] [--work FOLDER] [--jobs N]
                               [--detectors A,B]

A small DLRM is trained on each stream, scoring every event before it learns it, labels known 768
events later; its losses and scores are kept. On them every detector is tried at every setting. The
setting of a detector that finds the drifts of the logs for choosing soonest, with at most one false
alarm per million events there, is then judged on other logs: other seeds, click rates, severities
and noise, and the capacity-bound log, on which nothing was chosen. One setting serves all logs.

Delays are in events after the label of a drift's first event is known, of drifts that raise NE by
5 % or more, in expectation over the labels, as each one's probability is known; a missed one counts
as found after 30,000. A gradual drift counts from where NE has risen by 5 %. Two oracles are told
beside: how soon any test of the loss could find them, and any test at all. False alarms are those
that no drift explains, over quiet streams and the quiet stretches of the others. Label-free
detectors see inputs and scores alone: most drifts here change neither, and those that do are told
apart. The traces are made once (half an hour of CPU time on a quiet machine, in ``--work``); after
that everything takes minutes. ``--quick``: two or three short streams of each kind.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detect_drifts.detection import Found, Planted, judge, planted
from detect_drifts.logs import Log, choosing, judging
from detect_drifts.oracle import by_loss, by_truth
from detect_drifts.series import excess, inputs, losses, truth
from detect_drifts.settings import LABEL_FREE, Setting, settings
from detect_drifts.traces import Trace, trace
from record import Figure, finish, parser

COOLDOWN = 8_192
MEDIAN, LATE, FALSE = 2_000, 5_000, 1.0
"""Wanted: delays in events, median and 95th percentile, and false alarms per million events."""

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")


@dataclass(frozen=True)
class Watched:
    """A trace with its drifts and everything that a detector may be fed with."""

    trace: Trace
    drifts: list[Planted]
    statistics: dict[str, np.ndarray]
    bayes: np.ndarray
    vectors: np.ndarray

    def values(self, setting: Setting) -> np.ndarray:
        if setting.watches == "residuals":
            return self.vectors
        if setting.watches == "excess":
            return excess(self.trace, setting.slice_rows)
        if setting.watches == "loss":
            return losses(self.trace, setting.slice_rows)
        return self.statistics[setting.watches]


def main() -> int:
    options = parser("Detection delay, false alarms and misses of every drift detector.")
    options.add_argument("--work", type=Path, default=Path("runs/drift"), metavar="FOLDER")
    options.add_argument(
        "--detectors", default="", metavar="A,B", help="only these; label-free ones come last"
    )
    options.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once")
    given = options.parse_args()
    folder = given.work / ("traces-quick" if given.quick else "traces")
    with ProcessPoolExecutor(given.jobs) as pool:
        chosen_on, judged_on = (
            list(pool.map(partial(watch, folder=folder), logs(given.quick)))
            for logs in (choosing, judging)
        )
        table: dict[str, Any] = {}
        wanted = [name for name in given.detectors.split(",") if name]
        for name, tried in settings(given.quick).items():
            if wanted and name not in wanted:
                continue
            if name in LABEL_FREE and not any(each.statistics for each in chosen_on):
                chosen_on, judged_on = (
                    list(pool.map(partial(with_inputs, folder=folder), logs))
                    for logs in (chosen_on, judged_on)
                )
            share = -(-len(tried) // given.jobs)  # the traces travel once a process
            told = list(pool.map(partial(over, watched=chosen_on), tried, chunksize=share))
            best = choose(told)
            found = over(tried[best], judged_on)
            table[name] = line(tried[best], told[best], found, len(tried))
            print(describe(name, table[name]), flush=True)
    print()
    finish(
        [*figures(table), *about_drifts(judged_on), *bounds(judged_on)],
        given.json,
        chosen_on=[about(each) for each in chosen_on],
        judged_on=[about(each) for each in judged_on],
        detectors=table,
    )
    return 0


def watch(log: Log, folder: Path) -> Watched:
    found = trace(log, folder)
    bayes, vectors = truth(found, folder)
    return Watched(found, planted(found, bayes), {}, bayes, vectors)


def with_inputs(watched: Watched, folder: Path) -> Watched:
    return replace(watched, statistics=inputs(watched.trace, folder))


def over(setting: Setting, watched: list[Watched]) -> Found:
    """One setting over several traces."""
    found = Found((), 0, 0)
    for each in watched:
        drifts = each.drifts
        if setting.watches in ("dense", "ids"):  # a drift of the concept alone is not theirs to see
            drifts = [
                Planted(p.drift, p.onset, 1.0 if p.drift.kind == "covariate" else 0.0)
                for p in drifts
            ]
        found += judge(alarms(setting, each.values(setting)), drifts, each.trace.log.rows)
    return found


def alarms(setting: Setting, values: np.ndarray) -> list[int]:
    """Event numbers at the end of the slices that alarmed, with the monitor's own cooldown."""
    detector, cooldown = setting.make(), COOLDOWN // setting.slice_rows
    waiting, found = cooldown, []
    for number, value in enumerate(values if values.ndim > 1 else values.tolist()):
        if waiting:
            waiting -= 1
        elif detector.update(value):
            found.append((number + 1) * setting.slice_rows)
            waiting = cooldown
    return found


def choose(told: list[Found]) -> int:
    """The soonest on average among those that alarm falsely at most as often as wanted.

    Where none does, the one that does so least.
    """
    quiet = [i for i, found in enumerate(told) if found.false_per_million <= FALSE]
    if not quiet:
        return min(range(len(told)), key=lambda i: told[i].false_per_million)
    return min(quiet, key=lambda i: np.minimum(told[i].delays, 30_000).mean())


def line(setting: Setting, chosen: Found, found: Found, tried: int) -> dict[str, Any]:
    return {
        "slice_rows": setting.slice_rows,
        "parameters": setting.parameters,
        "settings_tried": tried,
        "median_delay": found.delay(50),
        "late_delay": found.delay(95),
        "drifts": len(found.delays),
        "missed": found.misses,
        "false_alarms": found.false_alarms,
        "quiet_events": found.events,
        "false_per_million": found.false_per_million,
        "chosen_on": {
            "median_delay": chosen.delay(50),
            "late_delay": chosen.delay(95),
            "missed": chosen.misses,
            "false_per_million": chosen.false_per_million,
        },
    }


def describe(name: str, row: dict[str, Any]) -> str:
    given = ", ".join(f"{key} {value:g}" for key, value in row["parameters"].items())
    return (
        f"{name:13} slices of {row['slice_rows']:3}, {given:32} delay {row['median_delay']:7,.0f} "
        f"median {row['late_delay']:7,.0f} at 95 %, missed {row['missed']:2} of {row['drifts']}, "
        f"{row['false_per_million']:.2f} false alarms per million"
    )


def figures(table: dict[str, Any]) -> list[Figure]:
    found = []
    for name, row in table.items():
        free = name in LABEL_FREE
        note = "drifts of the inputs alone" if free and name != "scores" else ""
        for figure, key, unit, most in (
            ("median delay", "median_delay", "events", MEDIAN),
            ("delay at 95 %", "late_delay", "events", LATE),
            ("false alarms", "false_per_million", "per M", FALSE),
        ):
            value = row[key]
            wanted, holds = ("", None) if free else (f"<= {most:,}", value <= most)
            found.append(Figure(f"{name}: {figure}", value, unit, wanted, holds, note))
        found.append(Figure(f"{name}: missed", row["missed"], f"of {row['drifts']}", note=note))
    return found


def about_drifts(judged_on: list[Watched]) -> list[Figure]:
    large = [p.rise for each in judged_on for p in each.drifts if p.large]
    quiet = sum(each.trace.log.rows for each in judged_on if not each.drifts)
    return [
        Figure("drifts that raise the loss by 5 % or more", len(large), "drifts"),
        Figure("their median rise", 100 * float(np.median(large)) if large else 0.0, "%"),
        Figure("drift-free events in quiet streams", quiet, "events"),
    ]


def bounds(judged_on: list[Watched]) -> list[Figure]:
    """Delays of two oracles with a false alarm per million events, which no detector can beat."""
    found = []
    for name, delays in (
        ("that knows how the loss will rise", [d for each in judged_on for d in by_loss(each)]),
        ("that knows the new P(label)", [d for each in judged_on for d in by_truth(each)]),
    ):
        for told, percentile in (("median", 50), ("95 %", 95)):
            value = float(np.percentile(delays, percentile)) if delays else float("nan")
            found.append(Figure(f"oracle {name}: delay, {told}", value, "events"))
    return found


def about(watched: Watched) -> dict[str, Any]:
    log = watched.trace.log
    drifts = [
        {"kind": p.drift.kind, "start": p.drift.start, "onset": p.onset, "rise": round(p.rise, 4)}
        for p in watched.drifts
    ]
    return {"name": log.name, "rows": log.rows, "settings": vars(log.settings), "drifts": drifts}


if __name__ == "__main__":
    sys.exit(main())
