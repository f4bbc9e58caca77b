"""Splits of implicit feedback."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_prune.errors import ConfigError
from stream_prune.interactions import InteractionLog
from stream_prune.training.interaction_split import split


def log_of(rows, users=6, items=9):
    user, item, time = np.array(rows, np.int64).reshape(-1, 3).T
    return InteractionLog(user, item, time, users, items)


LOGS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=80
).map(log_of)
SHARES = st.sampled_from([0.0, 0.1, 0.25, 0.29, 0.4])


@given(LOGS, st.sampled_from(["random", "time"]), SHARES, SHARES)
def test_every_pair_is_in_one_part_and_each_user_gives_its_share(log, order, validation, test):
    parts = split(log, order=order, validation=validation, test=test)
    pieces = [parts.train, parts.validation, parts.test]
    keys = np.concatenate([piece.keys for piece in pieces])
    assert sorted(keys.tolist()) == sorted(set((log.user * log.items + log.item).tolist()))
    counts = sum(piece.per_user for piece in pieces)
    for piece, share in ((parts.validation, validation), (parts.test, test)):
        assert piece.per_user.tolist() == [int(round(share * n, 6)) for n in counts.tolist()]
    assert parts.known.keys.tolist() == sorted((*parts.train.keys, *parts.validation.keys))


@given(LOGS)
def test_in_time_order_no_user_is_tested_on_what_came_before_what_it_learned(log):
    parts = split(log, order="time", validation=0.25, test=0.25)
    first = {}
    for user, item, time in zip(log.user, log.item, log.time, strict=True):
        first[(user, item)] = min(time, first.get((user, item), time))
    for earlier, later in ((parts.train, parts.validation), (parts.validation, parts.test)):
        for user in range(log.users):
            before, after = (
                [first[(user, item)] for item in part.items[part.starts[user] :][:count]]
                for part, count in ((p, p.per_user[user]) for p in (earlier, later))
            )
            assert not before or not after or max(before) <= min(after)


def test_a_random_split_follows_from_its_seed_and_not_from_the_order_of_the_log():
    rows = [(user, item, 0) for user in range(6) for item in range(9)]
    one, same = split(log_of(rows), seed=3, test=0.3), split(log_of(rows[::-1]), seed=3, test=0.3)
    other = split(log_of(rows), seed=4, test=0.3)
    assert one.test.keys.tolist() == same.test.keys.tolist()
    assert one.test.keys.tolist() != other.test.keys.tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": "space"}, "split.order = 'space': must be random or time"),
        ({"test": 1.0}, r"split.test = 1.0: must be in \[0, 1\)"),
        ({"test": 0.5, "validation": 0.5}, "must be below 1"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        split(log_of([(0, 0, 0)]), **settings)
