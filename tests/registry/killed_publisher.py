"""Publishes in processes that kill themselves at a step: ``python killed_publisher.py``.

Reads JSON lines ``{"artifact", "uri", "step", "after"}`` and answers each with the child's exit
status. Every publication is a fork, because importing MLflow takes seconds: this process itself
never talks to the registry.
"""

import json
import os
import signal
import sys

import mlflow.pyfunc  # noqa: F401  imported once, before any fork
from mlflow import MlflowClient

from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.publish import publish


def kill_at(step: str, after: bool) -> None:
    """Make the process kill itself before the client's call ``step``, or after it."""
    name, _, number = step.partition("#")
    call, left = getattr(MlflowClient, name), [int(number or 1)]

    def killed(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call(*args, **kwargs)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(MlflowClient, name, killed)


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            if job["step"]:
                kill_at(job["step"], job["after"])
            publish(job["artifact"], RegistryConfig(job["uri"], job["model"]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
