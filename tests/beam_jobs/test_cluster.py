"""The pieces of the streaming job on a cluster, each without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_jobs.cluster.chunks import validated
from beam_jobs.cluster.parcel import Parcel, pack
from beam_jobs.cluster.readings import Readings, say_stopped, stopped
from beam_jobs.cluster.restriction import Position, PositionTracker
from beam_jobs.cluster.runner_flags import expect_job_servers_flags, runner_flags
from beam_jobs.kafka_records import KafkaRecords
from beam_jobs.kafka_settings import KafkaSettings
from beam_jobs.log_source import Chunk
from beam_jobs.stream import create_log
from beam_jobs.stream_options import StreamOptions
from beam_jobs.windows import assign
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.log import StaleWriter

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "clicked",
        "event_key": "id",
        "dense": ["price"],
        "categorical": ["user"],
    }
)


@pytest.fixture
def given(tmp_path: Path) -> StreamOptions:
    return StreamOptions(
        kafka=KafkaSettings("127.0.0.1:9", ("t",)), spec=SPEC, log=tmp_path / "log", window_ms=10
    )


def test_a_chunk_comes_out_of_its_parcel_with_its_letters_as_it_went_in(
    given: StreamOptions,
) -> None:
    values = [
        b'{"time": 5, "clicked": 1, "price": 1.5, "user": "u", "id": "a"}',
        b"\xff{",
        b'{"time": 12, "clicked": 2, "price": 1.5, "user": "u", "id": "b"}',
        b'{"time": 13, "clicked": 0, "price": 2.5, "user": "v", "id": "c"}',
    ]
    headers: list[Any] = [[], [("trace", b"\x00\x01"), ("none", None)], None, []]
    records = KafkaRecords.of(
        "t", 3, [7, 8, 9, 11], [1, 2, 3, 4], [b"k", None, b"l", b"m"], values, headers, False
    )
    rows, letters = validated(Chunk(3, 7, 12, True, records), given)
    parcel = Parcel.decode(pack(4, rows, letters))
    assert parcel.reading == 4
    assert parcel.told() == letters
    assert [letter.offset for letter in letters] == [8, 9]
    came = parcel.chunk
    assert came is not None
    there, here = assign(came, 10), assign(rows, 10)
    assert [piece.rows for piece in there.pieces] == [piece.rows for piece in here.pieces]
    decoded = there.decoded
    assert (decoded.partition, decoded.start, decoded.stop, decoded.ends) == (3, 7, 12, True)
    assert decoded.letter(11, "late", "why") == rows.decoded.letter(11, "late", "why")


def test_readings_of_a_log_follow_one_another_and_a_superseded_job_begins_none(
    given: StreamOptions,
) -> None:
    log = create_log(given)
    first, second = Readings(log), Readings(log)
    assert first.newest() is None
    one = first.begin("job-1", {0: 5}, None)
    again = first.begin("job-1", {0: 9}, None)
    assert (one.number, again.number) == (1, 2)
    assert second.newest() == again
    other = second.begin("job-2", {0: 9}, {0: 20})
    assert Readings(log).newest() == other
    assert (other.number, other.ends) == (3, {0: 20})
    with pytest.raises(StaleWriter, match="another job has started to write this log since"):
        first.begin("job-1", {0: 9}, None)


def test_the_first_word_about_the_end_of_a_job_counts(given: StreamOptions) -> None:
    log = create_log(given)
    assert stopped(log, "job") is None
    say_stopped(log, "job", "the disk is full")
    say_stopped(log, "job", None)
    said = stopped(log, "job")
    assert said is not None
    assert said.why == "the disk is full"
    assert stopped(log, "other") is None


def test_what_a_reader_has_left_is_split_off_after_its_last_claim_and_nowhere_else() -> None:
    tracker = PositionTracker(Position())
    assert tracker.try_claim(Position(1, ((0, 5),)))
    assert tracker.try_split(0.5) is None
    with pytest.raises(ValueError, match="without being told to"):
        tracker.check_done()
    assert tracker.try_split(0) == (Position(1, ((0, 5),)), Position(1, ((0, 5),)))
    assert not tracker.try_claim(Position(1, ((0, 9),)))
    tracker.check_done()
    ended = PositionTracker(Position())
    assert ended.try_claim(Position(1, ((0, 5),), finished=True))
    assert ended.try_split(0) is None
    ended.check_done()


def test_options_of_a_runner_are_passed_through_and_come_before_those_it_needs(
    given: StreamOptions,
) -> None:
    own: dict[str, Any] = {"parallelism": 8, "experiments": ["a", "b"], "update": False}
    flags = runner_flags(replace(given, runner="flink", readers=3, runner_options=own))
    assert "--runner=PortableRunner" in flags
    assert "--parallelism=8" in flags
    assert "--parallelism=3" not in flags
    assert {"--experiments=a", "--experiments=b"} <= set(flags)
    assert not any("update" in flag for flag in flags)
    assert "--parallelism=3" in runner_flags(replace(given, runner="flink", readers=3))
    cloud = {"project": "p", "region": "r", "environment_config": {"a": 1}}
    flags = runner_flags(replace(given, runner="dataflow", runner_options=cloud))
    assert {"--runner=DataflowRunner", "--project=p", "--region=r", "--streaming"} <= set(flags)
    assert '--environment_config={"a": 1}' in flags


def test_beam_warns_of_an_unknown_option_of_ones_own_only(
    given: StreamOptions, caplog: pytest.LogCaptureFixture
) -> None:
    expect_job_servers_flags()
    own = {"max_bundle_sise": 7}
    flags = runner_flags(replace(given, runner="flink", runner_options=own))
    PipelineOptions(flags).get_all_options(display_warnings=True)
    assert [r.getMessage() for r in caplog.records if "Unparseable" in r.getMessage()] == [
        "Unparseable argument: --max_bundle_sise=7"
    ]


def test_what_a_cluster_does_not_do_is_refused(given: StreamOptions) -> None:
    with pytest.raises(ConfigError, match=r"stream\.runner_options: are those of a cluster"):
        replace(given, runner_options={"parallelism": 4})
    with pytest.raises(ConfigError, match=r"stream\.readers = 0: must be 1 or more"):
        replace(given, runner="flink", readers=0)
