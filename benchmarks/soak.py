"""The streaming job at full size against a real broker: faults, kills, and half an hour under load.

    python benchmarks/soak.py [--quick] [--minutes 30] [--only PART ...] [--json FILE]

1. A million events over 4 partitions, one of them idle for half of the time, with duplicates,
   disorder, corrupt and late ones: every good event is in exactly one mini-batch, every other one
   in the dead letters with its reason.
2. The job killed at 20 random moments, the trainer at 20, the broker at 5 (the last time it stays
   away for a minute): windows and weights are those of an undisturbed run, bit for bit, and those
   of a second trainer.
3. Twenty thousand events a second for half an hour: memory, and how long after its watermark has
   passed a window is committed.

``--quick``: the same, smaller (80,000 and 120,000 events, 3 kills each, one minute).
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from record import Figure, finish, parser
from soak_stream import kills, parts, setting

from beam_jobs.local_kafka import LocalKafka
from beam_jobs.produce.options import Faults

PARTS = ("reconciliation", "kills", "load")


@dataclass(frozen=True)
class KillSize:
    """How many events there are to work on, how often each process is killed, and for how long
    the broker stays away the last time."""

    events: int
    kills: int
    of_broker: int
    away_s: float


def main() -> None:
    options = parser("The streaming job at full size, against a real broker.")
    options.add_argument("--minutes", type=float, help="of the load (30; 1 if quick)")
    options.add_argument(
        "--only",
        choices=PARTS,
        nargs="+",
        default=PARTS,
        help="these parts; with --json the others stay in the file as they were",
    )
    given = options.parse_args()
    minutes = given.minutes or (1 if given.quick else 30)
    events = 80_000 if given.quick else 1_000_000
    size = KillSize(120_000, 3, 2, 10.0) if given.quick else KillSize(500_000, 20, 5, 60.0)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        with LocalKafka(folder / "kafka") as broker:
            for part in given.only:
                details: dict[str, object] = {"quick": given.quick}
                began = parts.begin()
                if part == "reconciliation":
                    found = reconciliation(broker, folder, events, details)
                elif part == "kills":
                    found = killing(broker, folder, size, details)
                else:
                    found = load(broker, folder, minutes, details)
                    details |= {"minutes": minutes}
                print(details)
                finish(found, None)
                if given.json is not None:
                    parts.merge(given.json, part, found, {**began.ended(), **details}, PARTS)
    finally:
        shutil.rmtree(folder)


def none(name: str, count: int) -> Figure:
    """A count that must be zero."""
    return Figure(name, count, "", "0", count == 0)


def reconciliation(
    broker: LocalKafka, folder: Path, events: int, details: dict[str, object]
) -> list[Figure]:
    """Every event where it belongs, once."""
    ledger = setting.fill(broker, folder, "faults", events)
    config = setting.configuration(broker, folder, "faults", "whole")
    setting.finish("stream", config, "--to-end")
    print(config.with_suffix(".stream.txt").read_text(), flush=True)
    wanted, log = setting.ledger_counts(ledger), folder / "whole.log"
    counted = setting.job_counts(log)
    details |= {"sent": wanted, "counted": counted}
    differing = sum(counted[kind] != count for kind, count in wanted.items())
    wrong = setting.unaccounted(broker, ledger, log, "whole.dlq")
    return [
        Figure("messages", sum(wanted.values()), ""),
        none("counters of the job that differ from what was sent", differing),
        *(none(name, count) for name, count in wrong.items()),
    ]


def killing(
    broker: LocalKafka, folder: Path, size: KillSize, details: dict[str, object]
) -> list[Figure]:
    """Undisturbed and disturbed runs of job and trainer on the same topic."""
    rng = np.random.default_rng(setting.SEED)
    ledger = setting.fill(broker, folder, "killed", size.events)
    calm = setting.configuration(broker, folder, "killed", "calm")
    setting.finish("stream", calm, "--to-end")
    setting.finish("train", calm)
    wild = setting.configuration(broker, folder, "killed", "wild", epoch_rows=2_000)
    metrics = wild.with_suffix(".jsonl")
    job = kills.kill_until_done(
        "stream",
        wild,
        *("--to-end", "--metrics", str(metrics)),
        kills=size.kills,
        work=size.events,
        done=kills.rows_read(metrics),
        rng=rng,
    )
    trained = kills.windows_trained(folder / "wild.run")
    windows = setting.job_counts(folder / "wild.log")["windows"]
    trainer = kills.kill_until_done(
        "train", wild, kills=size.kills, work=windows, done=trained, rng=rng
    )
    second = setting.configuration(broker, folder, "killed", "second", log="wild")
    setting.finish("train", second)
    away = setting.configuration(
        broker, folder, "killed", "away", client="kafka-python", epoch_rows=1_000
    )
    stopped = kills.kill_broker(
        broker, away, kills=size.of_broker, work=size.events, away_s=size.away_s, rng=rng
    )
    details |= {
        "events killed upon": size.events,
        "windows": windows,
        "broker away, at most (s)": size.away_s,
        "kills while starting": {"job": job.starting, "trainer": trainer.starting},
    }
    log = {name: setting.windows(folder / f"{name}.log") for name in ("calm", "wild", "away")}
    run = {name: setting.weights(folder / f"{name}.run") for name in ("calm", "wild", "second")}
    wrong = {
        f"{what}: {name}": count
        for what, of in (("job killed", "wild"), ("broker killed", "away"))
        for name, count in setting.unaccounted(
            broker, ledger, folder / f"{of}.log", f"{of}.dlq"
        ).items()
    }
    return [
        killed("kills of the job", job, size.kills),
        killed("kills of the trainer", trainer, size.kills),
        killed("kills of the broker", stopped, size.of_broker),
        none("windows that differ, job killed", log["wild"] != log["calm"]),
        none("windows that differ, broker killed", log["away"] != log["calm"]),
        none("weights that differ, trainer killed", run["wild"] != run["calm"]),
        none("weights that differ, a second trainer", run["second"] != run["calm"]),
        *(none(name, count) for name, count in wrong.items()),
    ]


def killed(name: str, done: kills.Kills, wanted: int) -> Figure:
    """Kills that hit a living process with work left."""
    return Figure(name, done.count, "", str(wanted), done.count == wanted)


def load(
    broker: LocalKafka, folder: Path, minutes: float, details: dict[str, object]
) -> list[Figure]:
    """The job beside a producer of 20,000 events a second."""
    config = setting.configuration(broker, folder, "load", "load")
    events = int(minutes * 60 * setting.LOAD)
    sending = threading.Thread(
        target=setting.fill,
        args=(broker, folder, "load", events, Faults(), setting.LOAD),
        daemon=True,
    )
    sending.start()
    while sending.is_alive() and not setting.begun(broker, "load"):  # events are made first
        time.sleep(0.5)
    metrics = folder / "load.jsonl"
    process = setting.start("stream", config, "--metrics", str(metrics))
    sizes: list[tuple[float, float]] = []
    started = time.monotonic()
    while sending.is_alive() and process.poll() is None:
        sizes.append((time.monotonic() - started, resident(process.pid)))
        sending.join(1.0)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline and read_rows(metrics) < events:
        time.sleep(1)
    process.terminate()
    if process.wait() != 0:
        raise RuntimeError(config.with_suffix(".stream.txt").read_text()[-2000:])
    told = setting.lines(metrics)
    closing = [float(line["seconds"]) for line in told if line["windows"]]
    p99 = float(np.quantile(closing, 0.99))
    # Warm-up: the first fifth; growth is that of a line through what follows.
    taken = np.array([(t, size) for t, size in sizes if t > sizes[-1][0] / 5])
    slope, first = np.polyfit(taken[:, 0], taken[:, 1], 1)
    details["memory, MB, about a minute apart"] = [
        round(size) for _, size in sizes[:: max(1, min(60, len(sizes) // 10))]
    ]
    grown = slope * (taken[-1, 0] - taken[0, 0])
    growth = float(100 * grown / (slope * taken[0, 0] + first))
    rows = read_rows(metrics)
    lag = float(np.median([int(line["lag"]) for line in told[len(told) // 5 :]]))
    return [
        Figure("load: events read", rows, ""),
        Figure("load: lag, median", lag, "events"),
        Figure("load: growth of memory after warm-up", growth, "%", "< 5", growth < 5),
        Figure("load: memory", float(taken[-1, 1]), "MB"),
        Figure("load: watermark to commit, median", float(np.median(closing)), "s"),
        Figure("load: watermark to commit, p99", p99, "s", "< 1.5", p99 < 1.5),
    ]


def read_rows(metrics: Path) -> int:
    """Events that the job has read so far."""
    return sum(int(line["rows"]) for line in setting.lines(metrics)) if metrics.exists() else 0


def resident(pid: int) -> float:
    """MB of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    main()
