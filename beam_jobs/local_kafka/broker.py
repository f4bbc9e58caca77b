"""One Kafka node as a child process: started, waited for, stopped, killed, started again."""

from __future__ import annotations

import atexit
import base64
import os
import random
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from beam_jobs.local_kafka.jars import cached_jars, fetch_jars
from beam_jobs.local_kafka.java import find_maven, java
from stream_prune.errors import RunError

TEMPLATE = Path(__file__).with_name("server.properties")
PORTS = range(20_000, 32_000)
"""Below the ports that systems give to outgoing connections, so that none is lost to a client
while the broker is down."""

READY_SECONDS, STOP_SECONDS = 60.0, 20.0
JAVA_OPTIONS = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class LocalKafka:
    """A broker whose data, settings and output lie in ``folder``.

    A folder that a broker has used goes on with the same data at the same address. As a context
    manager it is started on entry and stopped on exit.

    Args:
        folder: made if it is not there.
        settings: lines of server.properties beyond the template's, as ``{"key": "value"}``.
        java_options: for the JVM.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: dict[str, str] | None = None,
        java_options: Sequence[str] = JAVA_OPTIONS,
    ) -> None:
        self.folder = folder.absolute()
        self._settings = settings or {}
        self._java_options = tuple(java_options)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """``host:port``, as clients want it.

        Raises:
            RunError: it has never been started.
        """
        for line in self._read_properties().splitlines():
            if line.startswith("advertised.listeners="):
                return line.rpartition("//")[2]
        raise RunError(f"{self._properties}: names no listener: remove {self.folder}")

    @property
    def pid(self) -> int | None:
        """Of the process that runs; None if none does."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def output(self) -> Path:
        """What Kafka printed, over all starts."""
        return self.folder / "kafka.txt"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it and wait until it answers; one that runs is left alone.

        Raises:
            ConfigError: java or mvn is missing; the message says how to get it.
            RunError: Kafka can't be fetched, or does not come up.
        """
        if self.pid is not None:
            return self
        program = java()
        jars = cached_jars()
        if jars is None:
            maven = find_maven()
            assert maven is not None
            jars = fetch_jars(maven, program)
        command = [str(program), *self._java_options, "-cp", f"{jars}/*"]
        if not self._properties.exists():
            self._format(command)
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "kafka.Kafka", str(self._properties)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this program, which then stops the broker
            )
        atexit.register(self.stop)  # a program that fails leaves no broker behind
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it cleanly (SIGTERM), by force after :data:`STOP_SECONDS`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); what it has written stays."""
        self._end(signal.SIGKILL)

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _read_properties(self) -> str:
        try:
            return self._properties.read_text(encoding="utf-8")
        except OSError as error:
            raise RunError(f"{self._properties}: cannot be read: {error.strerror}") from None

    def _format(self, command: list[str]) -> None:
        """Write the settings and an empty data folder; the settings come last under their name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        broker_port, controller_port = free_ports(2)
        text = TEMPLATE.read_text(encoding="utf-8")
        for name, value in (
            ("BROKER_PORT", str(broker_port)),
            ("CONTROLLER_PORT", str(controller_port)),
            ("=DATA", f"={self.folder / 'data'}"),
        ):
            text = text.replace(name, value)
        text += "".join(f"{key}={value}\n" for key, value in self._settings.items())
        draft = self._properties.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = (*command, "kafka.tools.StorageTool")
        done = subprocess.run(
            [*tool, "format", "--ignore-formatted", f"--cluster-id={cluster}", "-c", str(draft)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()[-1000:]
            raise RunError(f"{self.folder}: cannot be made a Kafka data folder: {said}")
        draft.rename(self._properties)

    def _wait_until_ready(self) -> None:
        address, deadline = self.bootstrap, time.monotonic() + READY_SECONDS
        while not _answers(address):
            if self.pid is None:
                raise RunError(f"Kafka did not start; {self.output} ends with:\n{self._said()}")
            if time.monotonic() > deadline:
                raise RunError(
                    f"Kafka at {address} does not answer after {READY_SECONDS:.0f} s; "
                    f"{self.output} ends with:\n{self._said()}"
                )
            time.sleep(0.1)

    def _said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")[-1000:].strip()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)  # one that was paused would not hear the rest
            process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nothing listens on now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RunError(f"no free port between {PORTS.start} and {PORTS.stop}")


def _answers(address: str) -> bool:
    """Whether the broker serves clients: a cluster of which it is the one broker, not fenced."""
    from kafka import KafkaAdminClient
    from kafka.errors import KafkaError

    host, _, port = address.partition(":")
    with socket.socket() as probe:
        if probe.connect_ex((host, int(port))):
            return False
    try:
        admin = KafkaAdminClient(bootstrap_servers=address, request_timeout_ms=5_000)
        try:
            return [b["is_fenced"] for b in admin.describe_cluster()["brokers"]] == [False]
        finally:
            admin.close()
    except KafkaError:
        return False
