"""A process that publishes artifacts, as the one beside a trainer does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from stream_prune.registry.config import RegistryConfig

_PROGRAM = """
import json, os, sys
from pathlib import Path
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.publish import publish
os.nice(10)  # as `stream-prune train` starts its own
config = RegistryConfig(**json.loads(sys.stdin.readline()))
for line in sys.stdin:
    print(publish(Path(line.strip()), config), flush=True)
"""


class Publisher:
    """Publishes one artifact after another; a context that ends the process.

    Args:
        config: the registry, and the model's name.
    """

    def __init__(self, config: RegistryConfig) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(config)) + "\n")

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def publish(self, artifact: Path) -> str:
        """The version that it became.

        Raises:
            SystemExit: it failed; the process has said why.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{artifact}\n")
        self._process.stdin.flush()
        version = self._process.stdout.readline().strip()
        if not version:
            sys.exit("the publisher failed")
        return version
