"""Child processes that belong together: started in order, watched, all ended in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from stream_prune.errors import RunError

END_SECONDS = 20.0
"""How long a process may take to end after SIGTERM."""

POLL_S = 0.1


@dataclass(frozen=True)
class Child:
    """A process that was started, and the file that has what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    may_end: bool

    def said(self, characters: int = 1500) -> str:
        """The end of what it printed."""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        return text[-characters:].strip()


class Processes:
    """Starts commands; as a context manager it ends all that still run, the last one first.

    Every command has a process group of its own: Ctrl-C reaches this program alone, which then ends
    the others in an order that loses nothing.

    Arguments: ``folder`` for what they print, a file each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        may_end: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Child:
        """Start a command.

        Args:
            name: of the process in messages and of its file.
            command: program and arguments.
            may_end: it does its work and ends with 0; any other end is an error.
            environment: on top of this process's own.

        Raises:
            RunError: it can't be started.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        output = self._folder / f"{name}.txt"
        try:
            with output.open("ab") as file:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise RunError(f"{name}: {command[0]} cannot be started: {error.strerror}") from None
        child = Child(name, process, output, may_end)
        self._children[name] = child
        return child

    def running(self, name: str) -> bool:
        """Whether the process of that name was started and has not ended."""
        child = self._children.get(name)
        return child is not None and child.process.poll() is None

    def check(self) -> None:
        """See that none has ended that should not have.

        Raises:
            RunError: one has; with what it printed last.
        """
        for child in self._children.values():
            code = child.process.poll()
            if code is not None and not (child.may_end and code == 0):
                told = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
                raise RunError(f"{child.name} {told}; {child.output} ends with:\n{child.said()}")

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until ``ready`` says so, while all processes live.

        Raises:
            RunError: one has ended, or ``what`` is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise RunError(f"{what} is not ready after {seconds:.0f} s: see {self._folder}")
            time.sleep(POLL_S)

    def end(self, name: str | None = None) -> None:
        """End the named process, or all: SIGTERM to one after the other, SIGKILL where it must."""
        chosen = [name] if name is not None else list(reversed(self._children))
        for child in (self._children.pop(each) for each in chosen if each in self._children):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
                try:
                    child.process.wait(END_SECONDS)
                except subprocess.TimeoutExpired:
                    child.process.kill()
                    child.process.wait()
            _end_group(child.process.pid)


def _end_group(group: int) -> None:
    """End what a process has left behind in its group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP count as Ctrl-C within the block, so that it ends as cleanly.

    The first of the three interrupts; what follows is not heard, so that all is ended.
    """
    heard = False

    def interrupt(_: int, __: FrameType | None) -> None:
        nonlocal heard
        if not heard:
            heard = True
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
