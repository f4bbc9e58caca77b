"""Kafka's jars: fetched by Maven once, kept in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_prune.errors import RunError

POM = Path(__file__).with_name("pom.xml")
JARS_ENV = "STREAM_PRUNE_KAFKA_JARS"
"""Names a folder of jars to use as they are."""

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
FETCH_SECONDS = 600


def _version() -> str:
    found = re.search(r"<kafka\.version>([^<]+)<", POM.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


VERSION = _version()


def cache_folder() -> Path:
    """Where the jars of this version are kept: below XDG_CACHE_HOME, or ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME")
    root = Path(home) if home else Path.home() / ".cache"
    return root / "stream-prune" / f"kafka-{VERSION}"


def cached_jars() -> Path | None:
    """The folder of jars that is here already; None if they have to be fetched."""
    named = os.environ.get(JARS_ENV)
    if named:
        return Path(named)
    folder = cache_folder()
    return folder if folder.is_dir() else None


def fetch_jars(maven: Path, java: Path) -> Path:
    """The folder of jars, fetched if it is not here; two processes that ask at once fetch once.

    Raises:
        RunError: Maven could not fetch them, or the cache folder can't be written.
    """
    return fetch_into(cache_folder(), POM, "kafka_*.jar", f"Kafka {VERSION}", maven, java)


def fetch_into(folder: Path, pom: Path, one: str, what: str, maven: Path, java: Path) -> Path:
    """A folder with what a pom names and all that it needs; among it a file that matches ``one``.

    Raises:
        RunError: Maven could not fetch it, or the folder can't be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                _fetch(folder, pom, one, what, maven, java)
    except OSError as error:
        raise RunError(f"{folder}: the jars of {what} cannot be kept there: {error}") from None
    return folder


def _fetch(folder: Path, pom: Path, one: str, what: str, maven: Path, java: Path) -> None:
    """The folder has its name only when every jar is in it."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        work = Path(temporary)
        shutil.copy(pom, work / "pom.xml")
        jars = work / "jars"
        command = [
            *(str(maven), "-q", "-B", "-f", str(work / "pom.xml")),
            *(f"{PLUGIN}:copy-dependencies", f"-DoutputDirectory={jars}", "-DincludeScope=runtime"),
        ]
        environment = {"JAVA_HOME": str(java.resolve().parents[1]), **os.environ}
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env=environment,
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise RunError(f"mvn has not fetched {what} in {FETCH_SECONDS} s: {maven}") from None
        if done.returncode != 0 or not list(jars.glob(one)):
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            raise RunError(f"mvn could not fetch {what} (is the network there?):\n{said}")
        jars.rename(folder)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
