"""A peer in a process of its own, which learns when it is told to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from compare_throughput.clicks import BATCH, TEST_ROWS

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class Peer:
    """Ends with the process that made it, or by :meth:`close`.

    Args:
        name: of the model in ``peer_worker``.
        python: the interpreter of its environment.
        folder: the saved clicks.
    """

    def __init__(self, name: str, python: Path, folder: Path) -> None:
        self.name = name
        script = Path(__file__).with_name("peer_worker.py")
        self._process = subprocess.Popen(
            [python, script, name, folder, str(BATCH), str(TEST_ROWS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | ONE_THREAD,
        )

    def learn(self, batches: int) -> float:
        """The next mini-batches; the processor seconds that they took."""
        return self._ask(f"learn {batches}")

    def test(self) -> float:
        """Logloss on the rows that nobody learns."""
        return self._ask("test")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} has ended with status {self._process.wait()}")
        return float(answer)
