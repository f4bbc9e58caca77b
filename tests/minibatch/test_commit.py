from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.minibatch.commit import BatchRef, Claim, Commit, parse_record

whole = st.integers(0, 2**62)
by_partition = st.dictionaries(st.text(max_size=3), whole, max_size=2)
commits = st.builds(
    Commit,
    window_end=whole,
    shard=whole,
    writer_epoch=whole,
    fingerprint=st.text(),
    batches=st.lists(st.builds(BatchRef, whole, whole, st.text())).map(tuple),
    closed_at=by_partition,
    resume=by_partition,
    watermark=by_partition,
    state=st.lists(st.tuples(st.text(), st.text()), max_size=2).map(tuple),
    counts=by_partition,
    end=st.booleans(),
)


@given(commits)
def test_a_commit_survives_json(commit):
    assert Commit.from_json(commit.to_json()) == commit
    assert parse_record(commit.to_json().encode()) == commit


def test_the_record_on_disk_is_the_documented_one():
    commit = Commit(
        *(2000, 1, 3, "ab", (BatchRef(0, 7, "cd", size=123),), {"0": 9}, {"0": 8}, {"0": 1900}),
        counts={"good": 7},
        totals={"good": 10, "windows": 2},
    )
    assert json.loads(commit.to_json()) == {
        "kind": "commit",
        "window_end": 2000,
        "shard": 1,
        "writer_epoch": 3,
        "fingerprint": "ab",
        "batches": [[0, 7, "cd", None, 123]],
        "closed_at": {"0": 9},
        "resume": {"0": 8},
        "watermark": {"0": 1900},
        "state": [],
        "counts": {"good": 7},
        "totals": {"good": 10, "windows": 2},
        "end": False,
    }
    assert commit.rows == 7


def test_a_record_from_before_totals_and_sizes_is_read():
    values = json.loads(Commit(2000, 0, 1, "ab").to_json()) | {"batches": [[0, 7, "cd"]]}
    del values["totals"]
    found = Commit.from_json(json.dumps(values))
    assert found.batches == (BatchRef(0, 7, "cd"),)
    assert (found.totals, found.size) == ({}, 0)


def test_a_claim_survives_json_and_is_no_commit():
    assert parse_record(Claim(4).to_json()) == Claim(4)
    with pytest.raises(ValueError, match="a claim, not a commit"):
        Commit.from_json(Claim(4).to_json())


GOOD = json.loads(Commit(2000, 0, 1, "ab").to_json())


@pytest.mark.parametrize(
    "values",
    [
        [],
        {},
        {"kind": "claim"},
        {"kind": "claim", "epoch": "1"},
        {"kind": "checkpoint"},
        {**GOOD, "window_end": 1.5},
        {**GOOD, "batches": [[0, 1]]},
        {**GOOD, "resume": {"0": None}},
        {**GOOD, "more": 1},
        {**GOOD, "counts": []},
        {**GOOD, "end": "no"},
        {key: value for key, value in GOOD.items() if key != "resume"},
    ],
    ids=str,
)
def test_what_is_no_record_is_refused(values):
    with pytest.raises(ValueError, match="not a record"):
        parse_record(json.dumps(values))
    with pytest.raises(ValueError):
        parse_record(json.dumps(GOOD)[:-9])
