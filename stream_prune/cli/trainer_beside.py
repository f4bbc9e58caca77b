"""A trainer that tails the log of a streaming job, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

STOP_SECONDS = 60.0
"""How long it may take to stop."""

_PROGRAM = "from stream_prune.cli.main import main; main()"


class TrainerBeside:
    """``stream-prune train`` on a configuration, tailing its log; nothing if it is not wanted."""

    def __init__(self, wanted: bool, config: Path, changes: Sequence[str]) -> None:
        options = [f"--set={change}" for change in (*changes, "follow=true")]
        self._command = [sys.executable, "-c", _PROGRAM, "train", str(config), *options]
        self._wanted = wanted
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it has been: a log must be there."""
        if self._wanted and self._process is None:
            # A session of its own: Ctrl-C is for the job, which then stops it.
            self._process = subprocess.Popen(self._command, start_new_session=True)

    def finish(self) -> None:
        """Wait until it has learned the whole of a log that has ended."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        """Stop it where it is; started again it goes on from its last checkpoint."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def trainer_beside(wanted: bool, config: Path, changes: Sequence[str]) -> Iterator[TrainerBeside]:
    """A trainer that has stopped when the block ends."""
    trainer = TrainerBeside(wanted, config, changes)
    try:
        yield trainer
    finally:
        trainer.stop()
