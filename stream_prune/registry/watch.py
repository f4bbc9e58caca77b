"""A process of its own that looks an alias up and fetches versions, for one that serves.

It reads settings and then one question a line from its input, and answers each with one line of
JSON; it ends with its input. So a server has neither MLflow's memory nor its pauses, and a registry
that hangs is one process to end.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from stream_prune.errors import ConfigError, RunError
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.pull import pull, resolve

COMMAND = (sys.executable, "-m", "stream_prune.registry.watch")


def settings(config: RegistryConfig, destination: Path) -> str:
    """The first line that the process reads; URIs may hold passwords, so it is no argument."""
    return json.dumps({"config": asdict(config), "destination": str(destination)})


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever MLflow prints is no answer
    given = json.loads(sys.stdin.readline())
    config, destination = RegistryConfig(**given["config"]), Path(given["destination"])
    for line in sys.stdin:
        _tell(answers, _answer(json.loads(line), config, destination))


def _answer(question: dict[str, Any], config: RegistryConfig, destination: Path) -> dict[str, str]:
    try:
        if "fetch" in question:
            pulled = pull(config, destination, version=question["fetch"])
            return {"folder": str(pulled.folder)}
        return {"version": resolve(config)}
    except (ConfigError, RunError) as error:
        return {"error": str(error)}


def _tell(answers: TextIO, answer: dict[str, str]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
