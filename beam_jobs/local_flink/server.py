"""Beam's job server with a Flink in it, as a child process: started, stopped, killed."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from beam_jobs.local_flink.jars import java_and_jars
from beam_jobs.local_kafka.broker import free_ports
from stream_prune.errors import RunError

TEMPLATE = Path(__file__).with_name("flink-conf.yaml")
MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"
READY_SECONDS, STOP_SECONDS = 60.0, 20.0
JAVA_OPTIONS = ("-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
LOGGING = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)
OPENED = ("util", "lang", "time", "nio", "net", "util.concurrent", "lang.invoke")
"""Packages of java.base that Flink looks into."""


class LocalFlink:
    """A job server whose settings, checkpoints and output lie in ``folder``.

    A job gets a Flink of its own in the same JVM; one runs at a time. As a context manager it is
    started on entry and stopped on exit.

    Args:
        folder: made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = self._rest = 0

    @property
    def endpoint(self) -> str:
        """``host:port``, as ``stream.runner_options.job_endpoint`` wants it."""
        return f"localhost:{self._port}"

    @property
    def output(self) -> Path:
        """What Flink printed, over all starts."""
        return self.folder / "flink.txt"

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
        """Start it and wait until it answers.

        Raises:
            ConfigError: java or mvn is missing; the message says how to get it.
            RunError: Flink can't be fetched, or does not come up.
        """
        java, jars = java_and_jars()
        self._port, artifacts, self._rest = free_ports(3)
        for name in ("conf", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.restore_from(None)
        command = [
            *(str(java), *JAVA_OPTIONS, *LOGGING),
            *(f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in OPENED),
            *("-cp", f"{jars}/*", MAIN, "--job-host=localhost", f"--job-port={self._port}"),
            *(f"--artifact-port={artifacts}", "--expansion-port=-1", "--flink-master=[local]"),
            f"--flink-conf-dir={self.folder / 'conf'}",
            f"--artifacts-dir={self.folder / 'artifacts'}",
        ]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this program, which then stops Flink
            )
        atexit.register(self.stop)  # a program that fails leaves no Flink behind
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End it (SIGTERM), by force after :data:`STOP_SECONDS`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL); its savepoints stay."""
        self._end(signal.SIGKILL)

    def jobs(self) -> dict[str, str]:
        """The state of each job of the Flink that runs now, by Flink's id; none if none runs."""
        try:
            return {job["id"]: job["status"] for job in self._ask("/jobs")["jobs"]}
        except (urllib.error.URLError, ConnectionError):
            return {}

    def savepoint(self, job: str, *, cancel: bool) -> str:
        """Make a savepoint of a job; returns its place, for :meth:`restore_from`.

        Raises:
            RunError: Flink could not.
        """
        said = self._ask(f"/jobs/{job}/savepoints", {"cancel-job": cancel})
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            found = self._ask(f"/jobs/{job}/savepoints/{said['request-id']}")
            if found["status"]["id"] == "COMPLETED":
                if "location" in found["operation"]:
                    return str(found["operation"]["location"])
                cause = found["operation"]["failure-cause"]["stack-trace"]
                raise RunError(f"Flink made no savepoint of job {job}: {cause[:500]}")
            time.sleep(0.1)
        raise RunError(f"Flink made no savepoint of job {job} in {READY_SECONDS:.0f} s")

    def restore_from(self, savepoint: str | None) -> None:
        """Let jobs that are submitted from now on begin with a savepoint; None: with nothing."""
        settings = TEMPLATE.read_text(encoding="utf-8").replace("FOLDER", str(self.folder))
        settings = settings.replace("REST_PORT", str(self._rest))
        if savepoint is not None:
            settings += f"execution.savepoint.path: {savepoint}\n"
        (self.folder / "conf" / TEMPLATE.name).write_text(settings, encoding="utf-8")

    def _ask(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"http://localhost:{self._rest}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        assert self._process is not None
        while not _answers(self._port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.output.read_text(encoding="utf-8", errors="replace")[-1000:].strip()
                raise RunError(f"Flink did not start; {self.output} ends with:\n{said}")
            time.sleep(0.1)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0
