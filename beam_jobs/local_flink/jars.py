"""The jars of Flink and of Beam's job server for it: fetched by Maven once, kept in the cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from beam_jobs.local_kafka.jars import cache_folder, fetch_into
from beam_jobs.local_kafka.java import GET_JAVA, find_java, find_maven
from stream_prune.errors import ConfigError

POM = Path(__file__).with_name("pom.xml")
JARS_ENV = "STREAM_PRUNE_FLINK_JARS"
"""Names a folder of jars to use as they are."""


def _version() -> str:
    found = re.search(r"<beam\.version>([^<]+)<", POM.read_text(encoding="utf-8"))
    assert found is not None
    return found[1]


VERSION = f"1.19-beam-{_version()}"


def jars_folder() -> Path:
    """The folder of jars, whether it is there or not."""
    named = os.environ.get(JARS_ENV)
    return Path(named) if named else cache_folder().with_name(f"flink-{VERSION}")


def missing() -> str | None:
    """What a local Flink lacks and how to get it; None if it lacks nothing."""
    if find_java() is None:
        return f"a local Flink needs java, which is not here: {GET_JAVA}"
    if not jars_folder().is_dir() and find_maven() is None:
        return (
            f"a local Flink needs mvn, which is not here: install Maven, which fetches Flink and "
            f"Beam's job server ({VERSION}) once, 140 MB (Debian: apt install maven), or name a "
            f"folder with their jars: {JARS_ENV}"
        )
    return None


def java_and_jars() -> tuple[Path, Path]:
    """The ``java`` to use, and the folder of jars, fetched if need be.

    Raises:
        ConfigError: java, or what fetches Flink, is not here; the message says how to get it.
        RunError: Maven could not fetch it.
    """
    java, lacks, maven = find_java(), missing(), find_maven()
    if lacks is not None or java is None:
        raise ConfigError(str(lacks))
    folder = jars_folder()
    if not folder.is_dir():
        assert maven is not None
        fetch_into(folder, POM, "beam-runners-flink-*.jar", f"Flink {VERSION}", maven, java)
    return java, folder
