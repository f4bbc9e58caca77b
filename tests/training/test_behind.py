from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_builder import create, write
from training_logs import HOUR, a_spec, drifting_rows, same, weights, write_log

from stream_prune.errors import ConfigError
from stream_prune.minibatch.batch import BatchName
from stream_prune.minibatch.commit import BatchRef
from stream_prune.minibatch.reader import Window, windows
from stream_prune.training.behind import recorded
from stream_prune.training.config import TrainingConfig
from stream_prune.training.journal import read
from stream_prune.training.trainer import Trainer

SPEC = a_spec()
ROWS = drifting_rows(1500)


def a_config(tmp_path, run, **values):
    base = {
        "run": str(tmp_path / run),
        "log": str(tmp_path / "log"),
        "model": {"dim": 4, "bottom": [8], "top": [16]},
        "tables": {"default_capacity": 100},
        "checkpoint": {"every_windows": 2},
        "device": "cpu",
    }
    return TrainingConfig.from_dict(base | values)


def a_window(end, batches):
    refs = tuple((BatchName(end, i % 3, i // 3), BatchRef(i // 3, 2, "d")) for i in range(batches))
    return Window(end - 1000, end, refs, 2 * batches)


@given(st.integers(1, 10**9), st.integers(0, 40), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_sample_hangs_on_names_alone_and_grows_with_the_share(end, batches, one, other):
    low, high = sorted((one, other))
    window = a_window(end, batches)
    less, more = window.sample(low), window.sample(high)
    assert set(less.batches) <= set(more.batches) <= set(window.batches)
    assert less.rows + less.skipped == window.rows
    assert a_window(end, batches).sample(low) == less
    assert window.sample(1.0) == window


def test_a_sample_is_about_the_share_that_was_asked_for():
    kept = sum(len(a_window(end, 9).sample(0.3).batches) for end in range(1000, 1_000_000, 1000))
    assert abs(kept / (9 * 999) - 0.3) < 0.02


def test_a_reader_knows_how_many_windows_wait_for_it(tmp_path):
    log = create(tmp_path / "log", shards=2)
    for shard, last in ((0, 9000), (1, 7000)):
        writer = log.writer(shard)
        for end in range(2000, last + 1, 1000):
            write(writer, end)
    assert [window.behind for window in windows(log)] == [5, 4, 3, 2, 1, 0]


def test_a_run_that_is_behind_samples_and_says_so_and_a_replay_ends_with_its_weights(tmp_path):
    write_log(tmp_path / "log", SPEC, ROWS, batch_rows=16)
    behind = {"windows": 8, "share": 0.4}
    sampled = a_config(tmp_path, "sampled", follow=True, behind=behind)
    summary = Trainer(sampled).run()
    told = list(read(sampled.run / "journal.jsonl"))
    lines = [line for line in told if line["kind"] == "window"]
    assert summary["rows_skipped"] + summary["rows_scored"] == len(ROWS["time"])
    assert sum(line.get("rows_skipped", 0) for line in told[:-1]) == summary["rows_skipped"] > 0
    chosen = recorded(sampled.run)
    assert 0 < len(chosen) < len(lines)
    assert lines[0]["clock"]["behind"] > lines[-1]["clock"]["behind"] == 0
    again = {**behind, "replay": str(sampled.run)}
    replayed = a_config(tmp_path, "replayed", behind=again)
    Trainer(replayed).run()
    assert same(weights(sampled), weights(replayed))
    whole = a_config(tmp_path, "whole")
    Trainer(whole).run()
    assert not same(weights(sampled), weights(whole))


def test_a_sampling_run_that_is_stopped_goes_on_with_the_same_choices(tmp_path):
    write_log(tmp_path / "log", SPEC, ROWS, batch_rows=16, until=409 * HOUR, ended=False)
    first = a_config(tmp_path, "first", follow=True, behind={"windows": 2, "share": 0.5})
    stopped = Trainer(first)
    stopped._on_window = lambda line: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    write_log(tmp_path / "log", SPEC, ROWS, batch_rows=16)
    Trainer(first).run()
    again = {"windows": 2, "share": 0.5, "replay": str(first.run)}
    replayed = a_config(tmp_path, "replayed", behind=again)
    Trainer(replayed).run()
    assert same(weights(first), weights(replayed))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"behind": {"share": 1.0}, "follow": True}, r"^behind\.share = 1\.0: must be in \(0, 1\)"),
        ({"behind": {"windows": 0}, "follow": True}, r"^behind\.windows = 0: must be 1 or more"),
        ({"behind": {}}, r"^behind: only a log that is followed"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, values, message):
    with pytest.raises(ConfigError, match=message):
        a_config(tmp_path, "run", **values)


def test_a_replay_of_no_run_is_refused(tmp_path):
    write_log(tmp_path / "log", SPEC, ROWS)
    config = a_config(tmp_path, "run", behind={"replay": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match=r"^behind\.replay = .*none.*: no run is there"):
        Trainer(config).run()
