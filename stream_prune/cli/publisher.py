"""Publishes a run's models while it trains, from a process of its own.

It follows the run folder: a checkpoint that is due is held by hard links (the trainer may delete
its own meanwhile), an artifact is built from it, and waits in line for the registry. Training never
waits for any of this. The process lives as long as its standard input is open, and then finishes.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from stream_prune.cli.config import Config
    from stream_prune.registry.journal_cursor import Cursor
    from stream_prune.registry.publications import Publication, Publications

LOOK_EVERY_S = 0.5
RETRY_S = (5.0, 60.0)
"""Seconds after which a registry that did not answer is asked again: at first, and at most."""
HELD = ".held"
NICENESS = 10


@contextmanager
def publisher(run: Path, config: Config) -> Iterator[None]:
    """Publish the models of ``run`` while the block runs, and what is due at its end.

    A registry that does not answer stops nothing: artifacts wait in the run folder, and go out in
    order once it does, now or when this run is trained or published again.
    """
    if config.registry is None or not config.publish.by_itself:
        yield
        return
    command = [sys.executable, "-m", "stream_prune.cli.publisher", str(run)]
    # A session of its own: Ctrl-C is for the trainer, and what is half published gets finished. One
    # thread: with one a core it would take turns with the trainer's.
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        yield
    finally:
        child.communicate()


class Publisher:
    """One run's publisher.

    Args:
        run: the run folder.
        config: of the run; names a registry.
    """

    def __init__(self, run: Path, config: Config) -> None:
        from stream_prune.registry.journal_cursor import Cursor
        from stream_prune.registry.publications import Publications
        from stream_prune.registry.schedule import Schedule

        self.run, self.config = run, config
        self.publications: Publications = Publications(run)
        self._schedule = Schedule(config.publish, self.publications.last_step())
        self._cursor: Cursor = Cursor("publisher")
        self._retry_s, self._next_try = RETRY_S[0], 0.0
        self._seen = -1

    def look(self) -> None:
        """Build what is due now, and send what waits, if it is time to ask the registry again."""
        checkpoint = _newest(self.run)
        if checkpoint is not None and int(checkpoint.name) != self._seen:
            self._seen = int(checkpoint.name)
            self._consider(checkpoint)
        if self.publications.waiting() and time.monotonic() >= self._next_try:
            self.send()

    def finish(self) -> None:
        """What is due at the end of the run, and one more try for all that waits."""
        self._seen = -1
        self._next_try = 0.0
        self.look()
        waiting = self.publications.waiting()
        if waiting:
            from stream_prune.cli.commands import program

            _tell(
                f"{self.run}: {len(waiting)} models wait for the registry, the last of step "
                f"{waiting[-1].step}: {program()} publish {self.run} sends them, in order"
            )

    def _consider(self, checkpoint: Path) -> None:
        from stream_prune.registry.journal_cursor import new_lines
        from stream_prune.training.run_folder import JOURNAL

        for line in new_lines(self.run / JOURNAL, self._cursor):
            self._cursor = line.after
            self._schedule.hear(line.record)
        why = self._schedule.due(int(checkpoint.name))
        if why is not None:
            with self.publications.alone():
                self._build(checkpoint, why)

    def _build(self, checkpoint: Path, why: str) -> None:
        """The artifact of a checkpoint, at the end of the line."""
        from stream_prune.cli.artifacts import build_artifact
        from stream_prune.cli.example_rows import example_rows
        from stream_prune.registry.history import now
        from stream_prune.registry.publications import BUILT, DROPPED, FAILED, Publication

        held, step = self.run / HELD / checkpoint.name, int(checkpoint.name)
        registry = self.config.registry
        assert registry is not None
        try:
            if not _hold(checkpoint, held):
                return  # deleted meanwhile: the next one is newer
            artifact = build_artifact(
                self.run,
                registry.model,
                example_rows(self.config),
                settings=self.config.artifact,
                checkpoint=held,
            )
        except (ConfigError, RunError) as error:
            _tell(f"{self.run}: step {step} is not published: {error}")
            self.publications.add(Publication(step, FAILED, str(error), "", time=now()))
        else:
            self.publications.add(
                Publication(step, BUILT, why, str(artifact.relative_to(self.run)), time=now())
            )
            for line in self.publications.waiting()[: -self.config.publish.spool]:
                reason = f"more than {self.config.publish.spool} wait for the registry"
                _tell(f"{self.run}: step {line.step} is not published: {reason} (publish.spool)")
                self.publications.add(
                    Publication(line.step, DROPPED, reason, line.artifact, time=now())
                )
            self.publications.tidy()
        finally:
            shutil.rmtree(held.parent, ignore_errors=True)
        self._schedule.built(step)

    def send(self) -> None:
        """Publish all that waits, in order, until the registry does not answer."""
        from stream_prune.registry.client import RegistryAway

        with self.publications.alone():
            try:
                for line in self.publications.waiting():
                    fate = publish_waiting(self.run, line, self.config)
                    self.publications.add(fate)
                    self.publications.tidy()
                    told = fate.why if fate.version == "" else f"version {fate.version}"
                    _tell(f"{self.run}: step {fate.step}: {fate.outcome}: {told}")
            except RegistryAway as error:
                self._next_try = time.monotonic() + self._retry_s
                if self._retry_s == RETRY_S[0]:
                    _tell(f"{self.run}: its models wait for the registry: {error}")
                self._retry_s = min(2 * self._retry_s, RETRY_S[1])
            else:
                self._retry_s, self._next_try = RETRY_S[0], 0.0


def publish_waiting(run: Path, line: Publication, config: Config) -> Publication:
    """Publish an artifact of ``run`` that waits; returns its fate.

    Raises:
        RegistryAway: the registry doesn't answer; it waits on.
    """
    from stream_prune.minibatch.open_log import open_log
    from stream_prune.registry.client import RegistryAway
    from stream_prune.registry.gates import Refused
    from stream_prune.registry.history import now
    from stream_prune.registry.publications import FAILED, PUBLISHED, REFUSED, Publication
    from stream_prune.registry.publish import publish

    assert config.registry is not None

    def fate(outcome: str, why: str, version: str = "") -> Publication:
        return Publication(line.step, outcome, why, line.artifact, version, now())

    try:
        log = open_log(config.training.log)
        version = publish(
            run / line.artifact, config.registry, config.publish.gates, log, config.publish.deltas
        )
        return fate(PUBLISHED, line.why, version)
    except Refused as error:
        return fate(REFUSED, str(error))
    except RegistryAway:
        raise
    except (ConfigError, RunError) as error:
        return fate(FAILED, str(error))


def _hold(checkpoint: Path, held: Path) -> bool:
    """A checkpoint under a name of one's own, without copying; False if it has just gone."""
    shutil.rmtree(held.parent, ignore_errors=True)
    held.mkdir(parents=True)
    try:
        for path in checkpoint.iterdir():
            os.link(path, held / path.name)
    except FileNotFoundError:
        return False
    return True


def _newest(run: Path) -> Path | None:
    from stream_prune.training.run_folder import CHECKPOINTS

    found = sorted(path for path in (run / CHECKPOINTS).glob("*") if path.name.isdecimal())
    return found[-1] if found else None


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _give_way() -> None:
    """Let the trainer run first where both want a core."""
    os.nice(NICENESS)
    # Where Linux groups processes by session, niceness counts within the session only.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def main(run: Path) -> None:
    """Publish until standard input ends."""
    from stream_prune.cli.config import load
    from stream_prune.cli.job import JOB

    _give_way()
    at_work = Publisher(run, load(run / JOB))
    while not select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
        at_work.look()
    at_work.finish()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (ConfigError, RunError) as problem:
        _tell(f"stream-prune: {sys.argv[1]}: its models are not published: {problem}")
        sys.exit(1)
