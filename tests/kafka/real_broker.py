"""What tests need of a real broker besides the fixtures of conftest.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from beam_jobs.local_kafka import LocalKafka, missing


def folder_for_a_broker(factory: pytest.TempPathFactory) -> Path:
    """A new folder, where a broker can run; else the test is skipped, in CI it fails."""
    skip_if(missing())
    return factory.mktemp("kafka")


def skip_if(reason: str | None) -> None:
    """Skip a test for what is missing on this machine; in CI that is a failure."""
    if reason is not None:
        if os.environ.get("REQUIRE_BROKER") == "1":
            pytest.fail(f"REQUIRE_BROKER=1: {reason}", pytrace=False)
        pytest.skip(reason)


def create_topic(broker: LocalKafka, name: str, partitions: int, **settings: str) -> str:
    """A topic with ``settings`` (``retention_ms="1000"``) on any broker; its name."""
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic

    configs = {key.replace("_", "."): value for key, value in settings.items()}
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        admin.wait_for_topics([name])
    finally:
        admin.close()
    return name
