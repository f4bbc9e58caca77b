"""SIGKILL at random moments of a command's life, so many times, while it has work left."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beam_jobs.local_kafka import LocalKafka
from soak_stream import setting

POLL_S = 0.02
STARTING = 0.25
"""The share of kills that hit before the first piece of work is done."""

SHARE = 0.7
"""The share of all work that is done, on average, between the kills: the rest is left so that
none of them comes when there is nothing to do any more."""

LIFE_S = 600.0


class TooFewKillsError(RuntimeError):
    """The command had done its work before it was killed as often as was asked for."""


@dataclass(frozen=True)
class Kills:
    """What was killed: lives that ended before the first piece of work was done, and after."""

    starting: int
    working: int

    @property
    def count(self) -> int:
        return self.starting + self.working


def rows_read(metrics: Path) -> Callable[[], float]:
    """How many events all lives of a streaming job have read."""
    return lambda: sum(int(line["rows"]) for line in _lines(metrics))


def windows_trained(run: Path) -> Callable[[], float]:
    """How many windows stand in a trainer's journal; a restart cuts it back."""
    return lambda: sum(line["kind"] == "window" for line in _lines(run / "journal.jsonl"))


def kill_until_done(
    command: str,
    config: Path,
    *options: str,
    kills: int,
    work: float,
    done: Callable[[], float],
    rng: np.random.Generator,
) -> Kills:
    """Kill a command ``kills`` times at random moments, then let it end.

    Most moments are drawn by the work that a life has done, so that they spread over all of the
    work however fast the machine is; the others by the time that a start takes.

    Args:
        work: all that there is to do, in the unit of ``done``.
        done: how much has been done so far.

    Raises:
        TooFewKillsError: it ended before.
        RuntimeError: it failed.
    """
    starting, working = 0, 0
    takes_s = 5.0
    for number in range(kills):
        early = number > 0 and rng.random() < STARTING
        wanted = 0.0 if early else rng.uniform(0, 2 * SHARE * work / kills)
        wait_s = rng.uniform(0.1, 0.9) * takes_s if early else 0.0
        process = setting.start(command, config, *options)
        began, least, worked = time.monotonic(), done(), False
        while True:
            now = done()
            least = min(least, now)
            if now > least and not worked:
                worked = True
                takes_s = time.monotonic() - began
            lived = time.monotonic() - began
            if (early and lived >= wait_s) or (worked and now - least >= wanted):
                break
            _must_live(process, command, config, f"kill {number + 1} of {kills}")
            if lived > LIFE_S:
                process.kill()
                raise RuntimeError(f"{command}: did nothing in {LIFE_S:.0f} s")
            time.sleep(POLL_S)
        time.sleep(rng.uniform(0, 0.1))
        _must_live(process, command, config, f"kill {number + 1} of {kills}")
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise TooFewKillsError(f"{command}: had ended before kill {number + 1} of {kills}")
        starting, working = starting + (not worked), working + worked
        said = f"  {command}: kill {number + 1}, {now - least:,.0f} done in {lived:.1f} s"
        print(said, flush=True)
    setting.finish(command, config, *options)
    return Kills(starting, working)


def kill_broker(
    broker: LocalKafka,
    config: Path,
    *,
    kills: int,
    work: float,
    away_s: float,
    rng: np.random.Generator,
) -> Kills:
    """Kill the broker ``kills`` times under a job that reads; the last time it stays away.

    Raises:
        TooFewKillsError: the job ended before.
        RuntimeError: it failed.
    """
    broker.stop()  # so that all that was sent is on the disk
    broker.start()
    metrics = config.with_suffix(".jsonl")
    done = rows_read(metrics)
    process = setting.start("stream", config, "--to-end", "--metrics", str(metrics))
    targets = np.sort(rng.uniform(0, SHARE * work, kills))
    for number, wanted in enumerate(targets):
        deadline = time.monotonic() + LIFE_S
        while done() <= wanted:
            _must_live(process, "stream", config, f"kill {number + 1} of {kills} of the broker")
            if time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"stream: did nothing in {LIFE_S:.0f} s")
            time.sleep(POLL_S)
        broker.kill()
        read = done()
        if number == kills - 1:
            time.sleep(away_s)
        _must_live(process, "stream", config, f"kill {number + 1} of {kills} of the broker")
        broker.start()
        print(f"  broker: kill {number + 1}, {read:,.0f} events read", flush=True)
    if process.wait() != 0:
        raise RuntimeError(config.with_suffix(".stream.txt").read_text()[-2000:])
    return Kills(0, kills)


def _must_live(process: subprocess.Popen[bytes], command: str, config: Path, what: str) -> None:
    code = process.poll()
    if code is None:
        return
    if code == 0:
        raise TooFewKillsError(f"{command}: had done its work before {what}: give it more events")
    raise RuntimeError(config.with_suffix(f".{command}.txt").read_text()[-2000:])


def _lines(file: Path) -> list[dict[str, object]]:
    """The whole lines of a file that is being written."""
    if not file.exists():
        return []
    text = file.read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
