"""Shows a run's curves in MLflow while it trains, from a process of its own.

A second process, because MLflow's inserts would otherwise share the interpreter with the training
and slow it down. It lives as long as its standard input is open.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from stream_prune.registry.config import RegistryConfig

EVERY_S = 3.0


@contextmanager
def curves(run: Path, registry: RegistryConfig | None) -> Iterator[None]:
    """Forward the journal of ``run`` to MLflow while the block runs, and the rest of it at its end.

    A registry that does not answer stops nothing: the reason is told on stderr, and the lines are
    sent by the next command that trains or publishes this run.
    """
    if registry is None:
        yield
        return
    command = [sys.executable, "-m", "stream_prune.cli.curves", str(run)]
    child = subprocess.Popen([*command, json.dumps(asdict(registry))], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        child.communicate()


def main(run: Path, registry: RegistryConfig) -> None:
    """Forward until standard input ends."""
    from stream_prune.registry.mlflow_sink import MlflowSink

    sink = MlflowSink(run, registry)
    ended = False
    while not ended:
        ended = bool(select.select([sys.stdin], [], [], EVERY_S)[0])
        failure = sink.forward().failure
    if failure is not None:
        print(f"{run}: its curves are not in MLflow yet: {failure}", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]), RegistryConfig(**json.loads(sys.argv[2])))
