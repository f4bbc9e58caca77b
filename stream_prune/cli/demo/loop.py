"""The processes of the whole loop: broker, Beam job, trainer, MLflow, producer, serving.

Each is the command that a person or a container would start; they meet in a folder and in topics,
and know nothing of one another.
"""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stream_prune.cli.demo.processes import Processes
from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from beam_jobs.local_kafka import LocalKafka
    from stream_prune.cli.events_config import EventsConfig

READY_SECONDS = 180.0
LOOPBACK = "127.0.0.1"
NO_JOB_QUEUE = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""MLflow's server would start seven processes more, for a queue that nothing here uses."""


@dataclass(frozen=True)
class Places:
    """Where everything of one demonstration is.

    Attributes:
        folder: all of its files.
        bootstrap: the broker.
        mlflow, server: addresses.
        model, alias: the name under which it is registered, and what serving follows.
    """

    folder: Path
    bootstrap: str
    mlflow: str
    server: str
    model: str
    alias: str

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """The mini-batch log."""
        return self.folder / "log"

    def changes(self, given: Sequence[str]) -> list[str]:
        """What every command is told on top of the configuration: ``given``, then these places."""
        return [
            *given,
            f"run={self.run}",
            f"log={self.log}",
            "follow=true",
            f"source.kafka.bootstrap={self.bootstrap}",
            f"registry.tracking_uri={self.mlflow}",
            f"registry.model={self.model}",
            f"registry.alias={self.alias}",
        ]


class Loop:
    """Starts the parts when what they need is there.

    Args:
        processes: that the parts belong to.
        places: where they meet.
        config: the YAML file; ``changes`` on top of it.
    """

    def __init__(
        self, processes: Processes, places: Places, config: Path, changes: Sequence[str]
    ) -> None:
        self._processes, self.places = processes, places
        self._job = [str(config), *(f"--set={c}" for c in places.changes(changes))]

    def start(self, tell: Callable[[str], None]) -> None:
        """Start everything but the server; ``tell`` hears what is being waited for.

        Raises:
            RunError: a part ends or is not ready in time.
        """
        from stream_prune.minibatch.folder_log import HEADER

        processes, places, commands = self._processes, self.places, self.commands()
        processes.start("mlflow", commands["mlflow"], environment=NO_JOB_QUEUE)
        processes.start("stream", commands["stream"])
        tell("the Beam job starts ...")
        header = places.log / HEADER
        processes.wait_for("the mini-batch log", header.exists, READY_SECONDS)
        processes.start("produce", commands["produce"], may_end=True)
        tell("MLflow starts ...")
        processes.wait_for("MLflow", lambda: _listens(places.mlflow), READY_SECONDS)
        processes.start("train", commands["train"])

    def commands(self) -> dict[str, list[str]]:
        """Every part's command; those of docker/compose.yaml have no other options."""
        places = self.places
        alive = ["--alive", str(places.folder / "alive")]
        return {
            "mlflow": [
                *(sys.executable, "-m", "mlflow", "server", *_host_and_port(places.mlflow)),
                *("--workers", "1", "--backend-store-uri", f"sqlite:///{places.folder}/mlflow.db"),
                *("--artifacts-destination", str(places.folder / "artifacts")),
            ],
            "stream": [*program(), "stream", *self._job, *alive],
            "produce": [*program(), "produce", *self._job],
            "train": [*program(), "train", *self._job],
            "serve": [
                *(*program(), "serve", f"models:/{places.model}@{places.alias}"),
                *("--tracking-uri", places.mlflow, "--cache", str(places.folder / "served")),
                *_host_and_port(places.server),
            ],
        }

    def step(self) -> str:
        """Start the server once the trainer has published a model; returns what is going on.

        Raises:
            RunError: a part has ended that should not have.
        """
        from stream_prune.registry.publications import PUBLISHED, Publications

        processes = self._processes
        processes.check()
        if not processes.running("serve"):
            lines = Publications(self.places.run).lines()
            if any(line.outcome == PUBLISHED for line in lines):
                processes.start("serve", self.commands()["serve"])
            elif lines:
                return f"step {lines[-1].step}: {lines[-1].outcome} ({lines[-1].why})"
        if not processes.running("produce"):
            return "the log has been played; Ctrl-C ends everything"
        return ""


def program() -> list[str]:
    """The command ``stream-prune`` of this very environment.

    Raises:
        ConfigError: it is not installed as a command.
    """
    beside = Path(sys.executable).with_name("stream-prune")
    found = str(beside) if beside.is_file() else shutil.which("stream-prune")
    if found is None:
        raise ConfigError("the command stream-prune is not on the PATH: pip install the package")
    return [found]


@contextmanager
def broker_with_topic(folder: Path, config: EventsConfig) -> Iterator[LocalKafka]:
    """A broker of one's own for the block, with the topics that the configuration names.

    Raises:
        ConfigError: no topics are named, or java or mvn is missing.
    """
    from dataclasses import replace

    from beam_jobs.local_kafka import LocalKafka
    from beam_jobs.produce.open_sender import open_sender

    if config.source is None or config.source.kafka is None:
        raise ConfigError("source.kafka: is missing: name the topics")
    partitions = 4 if config.produce is None else config.produce.partitions
    with LocalKafka(folder) as broker:
        sender = open_sender(replace(config.source.kafka, bootstrap=broker.bootstrap))
        try:
            for topic in config.source.kafka.topics:
                sender.make_topic(topic, partitions)
        finally:
            sender.close()
        yield broker


def _host_and_port(address: str) -> tuple[str, str, str, str]:
    host, _, port = address.removeprefix("http://").partition(":")
    return "--host", host, "--port", port


def _listens(address: str) -> bool:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
