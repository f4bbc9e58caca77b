"""How fast the streaming job catches up with a topic, and where the time goes.

    python benchmarks/pipeline.py [--quick] [--json FILE]

A real broker is started, a topic of 4 partitions filled with flat Avro events, and read to its end:
by each client alone, by the job's functions in a bare loop without Beam, and by the job in
micro-epochs of 100,000 events. The ways take turns; each is timed from its second epoch on. Rates
are per second of processor time of this process, all threads, so that others on the machine disturb
them less; on a machine of one's own the clock's rates are higher for confluent-kafka, which fetches
in threads of its own. The job reads without Python's garbage collection, which is half of what a
client costs otherwise; the client alone is measured both ways. ``--quick``: fewer events, rounds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import Figure, arguments, finish
from run_pipeline.on_flink import on_flink
from run_pipeline.topic import SEED, fill, job
from run_pipeline.ways import (
    Cost,
    as_columns,
    bare_loop,
    beam_job,
    client_alone,
    client_without_collections,
)

from beam_jobs.local_flink import LocalFlink
from beam_jobs.local_kafka import LocalKafka

EPOCH_ROWS = 100_000
WAYS: dict[str, tuple[str, Callable[..., Cost]]] = {
    "confluent-kafka alone": ("confluent", client_alone),
    "confluent-kafka, as columns": ("confluent", as_columns),
    "bare loop, confluent-kafka": ("confluent", bare_loop),
    "job, confluent-kafka": ("confluent", beam_job),
    "kafka-python alone": ("kafka-python", client_alone),
    "kafka-python alone, no garbage collection": ("kafka-python", client_without_collections),
    "job, kafka-python": ("kafka-python", beam_job),
}


def main() -> None:
    options = arguments("How fast the streaming job catches up with a topic.")
    events, rounds = (400_000, 2) if options.quick else (1_000_000, 3)
    folder = Path(tempfile.mkdtemp(prefix="pipeline-"))
    try:
        with LocalKafka(folder / "kafka") as broker:
            size = fill(broker, folder, events)
            found = measure(broker, folder, rounds)
            flink = measure_flink(broker, folder, rounds)
    finally:
        shutil.rmtree(folder)
    details = {"events": events, "bytes_an_event": size, "epoch_rows": EPOCH_ROWS}
    finish([*figures(found), flink], options.json, seeds=[SEED], rounds=rounds, **details)


def measure(broker: LocalKafka, folder: Path, rounds: int) -> dict[str, list[Cost]]:
    """Every way in turn, so many times."""
    found: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for turn in range(rounds):
        for name, (client, way) in WAYS.items():
            log = folder / f"log-{turn}-{list(WAYS).index(name)}"
            found[name].append(way(job(broker, folder, log, client, EPOCH_ROWS)))
            shutil.rmtree(log, ignore_errors=True)
    return found


def measure_flink(broker: LocalKafka, folder: Path, rounds: int) -> Figure:
    """The job on a Flink of this machine, a first run for warming up left out."""
    rates = []
    with LocalFlink(folder / "flink") as flink:
        for turn in range(1 + rounds):
            told = job(broker, folder, folder / f"log-flink-{turn}", "confluent", EPOCH_ROWS)
            rates.append(on_flink(replace(told, epoch_ms=400), flink).per_second)
    return Figure("job on Flink, 4 readers, by the clock", median(rates[1:]), "events/s")


def figures(found: dict[str, list[Cost]]) -> list[Figure]:
    """Rates, ratios of the same round, and the stages' shares."""
    rate = {name: median([cost.per_cpu_second for cost in costs]) for name, costs in found.items()}
    wall = {name: median([cost.per_second for cost in costs]) for name, costs in found.items()}
    made = []
    for name, value in rate.items():
        fast = name == "job, confluent-kafka"
        wanted = {"wanted": ">= 200,000", "holds": value >= 200_000} if fast else {}
        made.append(Figure(f"{name}", value, "events/cpu s", **wanted))
        made.append(Figure(f"{name}, by the clock", wall[name], "events/s"))
    bare = ratio(found, "job, confluent-kafka", "bare loop, confluent-kafka")
    python = ratio(found, "job, kafka-python", "kafka-python alone")
    still = ratio(found, "job, kafka-python", "kafka-python alone, no garbage collection")
    made += [
        Figure("job over bare loop, confluent-kafka", bare, "", ">= 0.45", bare >= 0.45),
        Figure("job over bare loop (aim)", bare, "", ">= 0.60", bare >= 0.60),
        Figure("job over client alone, kafka-python", python, "", ">= 0.70", python >= 0.70),
        Figure("the same, the client without garbage collection", still, ""),
    ]
    for name in ("bare loop, confluent-kafka",):
        last = found[name][-1]
        total = last.cpu
        made += [
            Figure(f"{name}: {stage}", 100 * seconds / total, "% of cpu")
            for stage, seconds in last.stages.items()
        ]
    return made


def ratio(found: dict[str, list[Cost]], one: str, other: str) -> float:
    """Median over rounds of the rates' ratio."""
    pairs = zip(found[one], found[other], strict=True)
    return median([a.per_cpu_second / b.per_cpu_second for a, b in pairs])


def median(values: list[float]) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    main()
