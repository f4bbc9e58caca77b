"""Requests at full load while new versions are published, verified and swapped in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from record import Figure

from serve_models.artifacts import NAME
from serve_models.load import full
from serve_models.publisher import Publisher
from serve_models.servers import ours, v2_requests
from stream_prune.artifact import Scorer
from stream_prune.registry.config import RegistryConfig


@dataclass
class _Seen:
    """What the answers were."""

    versions: dict[str, int] = field(default_factory=dict)
    wrong: int = 0


def swapping(artifacts: Sequence[Path], folder: Path, rows: pa.Table, least: int) -> list[Figure]:
    """Publish the artifacts one after another to a registry that a server under load follows.

    Args:
        artifacts: the first is served before the load begins.
        folder: for the registry's database and the server's cache.
        rows: asked one at a time, again and again.
        least: requests to make, and more until the last version answers.
    """
    config = RegistryConfig(f"sqlite:///{folder}/mlflow.db", NAME)
    expected = [Scorer.load(artifact).score(rows) for artifact in artifacts]
    publisher = Publisher(config)
    versions = [publisher.publish(artifacts[0])]
    arguments = (f"models:/{NAME}@champion", "--tracking-uri", config.tracking_uri)
    more = ("--cache", folder / "cache", "--set", "serving.following.every_s=0.1")
    seen, memory = _Seen(), list[float]()
    with publisher, ours(*arguments, *more) as (port, process):

        def on_with_it() -> None:
            for artifact in artifacts[1:]:
                versions.append(publisher.publish(artifact))
                deadline = time.monotonic() + 60
                while versions[-1] not in seen.versions and time.monotonic() < deadline:
                    time.sleep(0.01)
                memory.append(_memory(process.pid))

        publishing = threading.Thread(target=on_with_it)
        publishing.start()

        def check(at: int, status: int, body: bytes) -> None:
            if status == 200:
                _check(seen, expected, at % len(rows), body)

        load = full(
            port,
            v2_requests(rows),
            connections=4,
            until=lambda done: done >= least and not publishing.is_alive(),
            check=check,
        )
        publishing.join()
    swapped = len(seen.versions) - 1
    wanted = len(artifacts) - 1
    settled, last = memory[len(memory) // 4], max(memory[-3:])
    growth = 100 * (last / settled - 1)
    return [
        Figure("requests while versions were swapped", len(load.latencies), "", f">= {least}",
               len(load.latencies) >= least),
        Figure("versions published and swapped in", swapped, "", f"{wanted}", swapped == wanted),
        Figure("failed requests", load.failed, "", "0", load.failed == 0),
        Figure("scores of no version, or of another than named", seen.wrong, "", "0",
               seen.wrong == 0),
        Figure("server's memory after a quarter of the swaps", settled, "MB"),
        Figure("its growth until the last swap", growth, "%", "<= 5", growth <= 5),
    ]  # fmt: skip


def _check(
    seen: _Seen,
    expected: Sequence[npt.NDArray[np.float32]],
    row: int,
    body: bytes,
) -> None:
    answer = json.loads(body)
    version, (score,) = answer["model_version"], answer["outputs"][0]["data"]
    seen.versions[version] = seen.versions.get(version, 0) + 1
    # Versions are numbered in the order of the artifacts.
    seen.wrong += not abs(score - float(expected[int(version) - 1][row])) <= 1e-5


def _memory(pid: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 1e6
