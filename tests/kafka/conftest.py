"""A real broker for the tests of this folder, one for each test process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from real_broker import create_topic, folder_for_a_broker

from beam_jobs.local_kafka import LocalKafka


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that all tests share; one that kills or fills it starts its own."""
    with LocalKafka(folder_for_a_broker(tmp_path_factory)) as running:
        yield running


@pytest.fixture
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker of the test's own, to be killed and started again."""
    with LocalKafka(folder_for_a_broker(tmp_path_factory)) as running:
        yield running


@pytest.fixture
def new_topic(broker: LocalKafka, request: pytest.FixtureRequest) -> Callable[..., str]:
    """``new_topic(partitions=4, **settings)``: a topic that no other test has; its name."""
    numbers = itertools.count()

    def create(partitions: int = 4, **settings: str) -> str:
        name = "".join(c if c.isalnum() else "-" for c in request.node.name)[:150]
        name = f"{name}-{next(numbers)}"
        return create_topic(broker, name, partitions, **settings)

    return create


@pytest.fixture(params=["kafka-python", "confluent"])
def client(request: pytest.FixtureRequest) -> str:
    """The name of a Kafka client, each in turn."""
    if request.param == "confluent":
        pytest.importorskip("confluent_kafka")
    return str(request.param)
