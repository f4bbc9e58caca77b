"""Impressions in one topic, their clicks in another: joined, stopped, gone on with."""

from __future__ import annotations

import pytest
from joined import ROWS, labels_of, make_events, options, send
from streams import windows

from beam_jobs.stream import stream
from stream_prune.errors import ConfigError
from stream_prune.minibatch.open_log import open_log
from stream_prune.minibatch.place import KafkaPlace


@pytest.fixture(scope="module")
def events():
    return make_events()


@pytest.fixture
def topics(broker, new_topic, events):
    names = new_topic(partitions=2), new_topic(partitions=1)
    send(broker, names, events)
    return names


def test_a_joined_stream_is_the_same_wherever_it_is_stopped_and_on_a_topic_too(
    broker, topics, events, tmp_path
):
    _, clicks, expected = events
    whole = stream(options(broker, topics, tmp_path / "whole"), to_end=True)
    assert (whole.good, whole.rows) == (ROWS, ROWS + len(clicks))
    assert whole.clicks == sum(expected.values())
    assert min(whole.unmatched, whole.late, whole.duplicates) > 0
    assert labels_of(open_log(tmp_path / "whole")) == expected
    for stops in (2, 1):
        left = iter(range(stops))
        stream(
            options(broker, topics, tmp_path / "log"),
            to_end=True,
            stop=lambda left=left: next(left, None) is None,
        )
    assert stream(options(broker, topics, tmp_path / "log"), to_end=True) == whole
    assert windows(tmp_path / "log") == windows(tmp_path / "whole")
    place = KafkaPlace(broker.bootstrap, f"{topics[0]}-log", patience_s=30)
    left = iter(range(2))
    given = options(broker, topics, place)
    stream(given, to_end=True, stop=lambda: next(left, None) is None)
    assert stream(given, to_end=True) == whole
    assert labels_of(open_log(place)) == expected


def test_topics_that_are_both_are_refused(broker, tmp_path):
    with pytest.raises(ConfigError, match=r"join\.topics = \['a'\]: one of them is in source"):
        options(broker, ("a", "a"), tmp_path / "log")
