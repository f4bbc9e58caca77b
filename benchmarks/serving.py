"""A pruned model served: how small, how fast, how it compares, and what swapping it costs.

    python benchmarks/serving.py [--quick] [--json FILE]

The dense model is the DLRM of click_dlrm.py with a million rows in use, in float32; the pruned one
is the same after a plan of 20 % of the MACs and of the rows, stored as int8. Model times are
processor times of one thread, models in turns. HTTP is measured with a server and a client in
processes of their own, keep-alive connections, one row a request; servers that are compared serve
the same dense artifact through the same scorer. At half of the saturation load requests are due at
a constant rate, which the client keeps however long answers take; latency is taken over pieces,
and the median piece counts, because one core of two is the client's and others may use both. An
app that does nothing, on the same stack and in turns, says what of it is the machine's. It is taken
twice: on the machine as it is, and undisturbed, with cores that do not halt, priority over other
programs, and a core each for server and client (which takes root).
``--quick``: fewer calls, shorter pieces, four versions instead of twenty. In full it takes some 20
minutes on 2 cores, and a first run some more for the environment of MLServer; ``--quick`` 6.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from click_dlrm import SEED
from record import Figure, arguments, finish
from serve_models import model_time, servers
from serve_models.artifacts import another, as_artifact, dense_learner, pruned_learner, raw
from serve_models.load import full, steady
from serve_models.real_run import real_run
from serve_models.swapping import swapping
from serve_models.undisturbed import allowed, leave_core, undisturbed

from stream_prune.training.learner import Learner

ROWS = raw(64, seed=SEED + 1)


def main() -> None:
    options = arguments("A pruned model served: size, speed, peers, swaps.")
    torch.set_num_threads(1)
    quick = options.quick
    with TemporaryDirectory() as place:
        folder = Path(place)
        dense, pruned = dense_learner(), pruned_learner()
        whole = as_artifact(dense, folder / "dense", "float32")
        small = as_artifact(pruned, folder / "pruned", "int8")
        found = [
            *model_time.size(whole, small),
            *model_time.speed(dense, whole, small, 10 if quick else 40),
        ]
        del dense
        found += latency(small, 2.0 if quick else 6.0, 3 if quick else 7)
        found += peers(whole, folder, 2.0 if quick else 6.0, 2 if quick else 5)
        found += real_run(folder, 600_000 if quick else 1_500_000)
        found += swaps(pruned, small, folder, 4 if quick else 20, 2_000 if quick else 10_000)
        found += made_up(small, 5 if quick else 50)
    finish(found, options.json, seeds=[SEED], quick=quick)


def latency(artifact: Path, seconds: float, pieces: int) -> list[Figure]:
    """Saturation of one process, and the spread of latency at half of it; beside an empty app."""
    if not allowed():
        print("latency on cores of their own: not measured, which takes root on Linux", flush=True)
        return _latency(artifact, seconds, pieces, "", 2.0)
    found = _latency(artifact, seconds, pieces, "", None)
    with undisturbed():
        return found + _latency(artifact, seconds, pieces, ", undisturbed", 2.0)


def _latency(
    artifact: Path, seconds: float, pieces: int, how: str, most: float | None
) -> list[Figure]:
    requests = servers.v2_requests(ROWS)
    with servers.ours(artifact) as (own, _), servers.nothing() as empty:
        if how:
            leave_core()
        saturation = {own: [], empty: []}
        spread: dict[int, list[tuple[float, float]]] = {own: [], empty: []}
        for piece in range(-1, pieces):
            for port in (own, empty):
                saturation[port].append(full(port, requests, seconds=seconds / 2).rate)
            for port in (own, empty):  # the empty one at the same rate: what else there is
                load = steady(port, requests, saturation[own][-1] / 2, seconds)
                p50, p99 = np.percentile(load.latencies, (50, 99))
                if piece >= 0:
                    spread[port].append((p50, p99))
    found = []
    for port, name in ((own, "pruned, batch 1"), (empty, "an empty app")):
        p50, p99 = 1e3 * np.median(spread[port], axis=0)
        ratios = [p99 / p50 for p50, p99 in spread[port]]
        ratio, wanted = float(np.median(ratios)), most if port == own else None
        found += [
            Figure(f"saturation, {name}{how}", float(np.median(saturation[port])), "1/s"),
            Figure(f"p50 at half of it, {name}{how}", float(p50), "ms"),
            Figure(f"p99 at half of it, {name}{how}", float(p99), "ms"),
            Figure(f"p99 over p50, {name}{how}", ratio, "x",
                   "" if wanted is None else f"<= {wanted:g}",
                   None if wanted is None else ratio <= wanted,
                   f"pieces: {min(ratios):.2f} to {max(ratios):.2f}"),
        ]  # fmt: skip
    return found


def peers(artifact: Path, folder: Path, seconds: float, rounds: int) -> list[Figure]:
    """Requests a second of servers of the same dense model, in turns."""
    v2, frames = servers.v2_requests(ROWS), servers.frame_requests(ROWS)
    with (
        servers.ours(artifact) as (own, _),
        servers.mlflow(artifact, folder) as mlflow,
        servers.mlserver(artifact, folder) as mlserver,
    ):
        asked = {"stream-prune serve": (own, v2), "mlflow models serve": (mlflow, frames),
                 "MLServer": (mlserver, v2)}  # fmt: skip
        rates: dict[str, list[float]] = {name: [] for name in asked}
        for turn in range(-1, rounds):
            for name, (port, requests) in asked.items():
                load = full(port, requests, seconds=seconds)
                if load.failed:
                    sys.exit(f"{name}: {load.failed} requests failed")
                if turn >= 0:
                    rates[name].append(load.rate)
    found = [
        Figure(f"requests/s, batch 1, {name}", float(np.median(each)), "1/s")
        for name, each in rates.items()
    ]
    mine = np.array(rates.pop("stream-prune serve"))
    for name, each in rates.items():
        gain = float(np.median(mine / np.array(each)))
        found.append(Figure(f"requests/s over {name}", gain, "x", ">= 3", gain >= 3))
    return found


def swaps(made: Learner, first: Path, folder: Path, count: int, least: int) -> list[Figure]:
    """New versions of the pruned model, swapped in under load."""
    artifacts = [first]
    for step in range(2, count + 2):
        another(made, step)
        artifacts.append(as_artifact(made, folder / f"version-{step}", "int8", step))
    return swapping(artifacts, folder, ROWS.slice(0, 16), least)


def made_up(artifact: Path, examples: int) -> list[Figure]:
    """Requests that schemathesis makes up from the OpenAPI document."""
    program = Path(sys.executable).with_name("schemathesis")
    with servers.ours(artifact) as (port, _):
        done = subprocess.run(
            [program, "run", f"http://127.0.0.1:{port}/openapi.json", "--seed", str(SEED),
             "--checks", "not_a_server_error", "--max-examples", str(examples)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    cases = re.search(r"([\d,]+) generated", done.stdout)
    errors = re.findall(r"Server error", done.stdout)
    made = int(cases[1].replace(",", "")) if cases else 0
    good = done.returncode == 0 and made > 0
    return [
        Figure("requests made up by schemathesis", made, ""),
        Figure("answers with 5xx among them", len(errors), "", "0", good and not errors),
    ]


if __name__ == "__main__":
    main()
