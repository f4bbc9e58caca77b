from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from stream_prune.datasets.click_truth import Inputs
from stream_prune.datasets.drift_schedule import drifts_until
from stream_prune.datasets.known_truth import BAYES, BLOCK, Drift, bayes_ne
from stream_prune.datasets.living_ids import ID_COUNTS, lifetime_of
from stream_prune.datasets.synthetic import SKEWED, SPEC, Settings, block, truth
from stream_prune.errors import ConfigError

STREAM = Settings(events=200_000, lifetime=4_000)
ABRUPT, COVARIATE, GRADUAL, RECURRING, SECOND_COVARIATE, SECOND_ABRUPT = drifts_until(
    STREAM.events, STREAM.events
)


@pytest.fixture(scope="module")
def events() -> pa.Table:
    blocks = [block(STREAM, number) for number in range(-(-STREAM.events // BLOCK))]
    return pa.concat_tables(blocks).slice(0, STREAM.events).combine_chunks()


@pytest.fixture(scope="module")
def bayes(events) -> np.ndarray:
    return events[BAYES].to_numpy()


def test_the_drifts_of_a_cycle_and_of_the_next_one() -> None:
    expected = [
        ("abrupt", 20, 20, 1), ("covariate", 35, 35, 1), ("gradual", 45, 55, 2),
        ("recurring", 70, 70, 0), ("covariate", 80, 80, 0), ("abrupt", 90, 90, 3),
        ("abrupt", 120, 120, 4), ("covariate", 135, 135, 4), ("gradual", 145, 155, 5),
        ("recurring", 170, 170, 3),
    ]  # fmt: skip
    assert drifts_until(171, cycle=100) == [Drift(*drift) for drift in expected]


def test_ids_follow_zipfs_law(events) -> None:
    for field in (10, 18, 25):
        slots = events[f"cat_{field:02}"].to_numpy()[: COVARIATE.start] % ID_COUNTS[field]
        shares = np.bincount(slots, minlength=ID_COUNTS[field])[:3] / len(slots)
        expected = np.log([2 / 1, 3 / 2, 4 / 3]) / np.log(ID_COUNTS[field] + 1)
        np.testing.assert_allclose(shares, expected, rtol=0.1)


@pytest.mark.parametrize("field", range(len(ID_COUNTS)))
def test_ids_die_after_their_lifetime_and_new_ones_are_born(events, field: int) -> None:
    ids = events[f"cat_{field:02}"].to_numpy()
    lifetime = lifetime_of(field, STREAM.lifetime)
    assert ids.min() >= 0
    if lifetime is None:
        assert ids.max() < ID_COUNTS[field] <= 100
        return
    _, first = np.unique(ids, return_index=True)
    last = len(ids) - 1 - np.unique(ids[::-1], return_index=True)[1]
    assert (last - first).max() < lifetime
    assert not set(ids[:20_000]) & set(ids[20_000 + lifetime :])
    # Of each slot, never two ids at a time: the next one comes after the last event of the one.
    slot = np.unique(ids) % ID_COUNTS[field]
    order = np.lexsort((first, slot))
    same = slot[order][1:] == slot[order][:-1]
    assert (first[order][1:] > last[order][:-1])[same].all()


def test_the_probability_is_the_concepts_between_the_drifts(events, bayes) -> None:
    stretches = [
        (0, ABRUPT.start, 0),
        (ABRUPT.start, GRADUAL.start, 1),
        (GRADUAL.end, RECURRING.start, 2),
        (RECURRING.start, SECOND_ABRUPT.start, 0),
        (SECOND_ABRUPT.start, STREAM.events, 3),
    ]
    for start, end, concept in stretches:
        expected = truth(STREAM, events.slice(start, end - start), concept)
        np.testing.assert_allclose(bayes[start:end], expected, atol=1e-5)


def test_a_fixed_model_loses_at_a_drift_of_the_concept_only(events, bayes) -> None:
    label = events["clicked"].to_numpy()
    fixed = truth(STREAM, events, 0)
    regret = np.where(label == 1, np.log(bayes / fixed), np.log((1 - bayes) / (1 - fixed)))
    near = 8_000
    for drift in (ABRUPT, SECOND_ABRUPT):
        assert abs(regret[drift.start - near : drift.start].mean()) < 1e-4
        assert regret[drift.start : drift.start + near].mean() > 0.1
    assert regret[RECURRING.start - near : RECURRING.start].mean() > 0.1
    assert abs(regret[RECURRING.start : SECOND_ABRUPT.start].mean()) < 1e-4


def test_a_gradual_drift_mixes_the_old_and_the_new_concept_evenly_in_the_middle(
    events, bayes
) -> None:
    inside = events.slice(GRADUAL.start, GRADUAL.end - GRADUAL.start)
    old, new = truth(STREAM, inside, 1), truth(STREAM, inside, 2)
    share = np.arange(len(old)) / len(old)
    expected = (1 - share) * old + share * new
    np.testing.assert_allclose(bayes[GRADUAL.start : GRADUAL.end], expected, atol=1e-5)


@pytest.mark.parametrize("drift", [COVARIATE, SECOND_COVARIATE])
def test_a_covariate_drift_changes_the_inputs_and_not_what_follows_from_them(
    events, bayes, drift: Drift
) -> None:
    near = 10_000
    before, after = (events.slice(at, near) for at in (drift.start - near, drift.start))

    def means(part: pa.Table) -> np.ndarray:
        dense = np.stack([part[column.name].to_numpy() for column in SPEC.dense])
        return np.concatenate((np.log(dense[:SKEWED]), dense[SKEWED:])).mean(axis=1)

    assert np.abs(means(after) - means(before)).max() > 0.5
    earlier = events.slice(drift.start - 2 * near, near)
    assert np.abs(means(before) - means(earlier)).max() < 0.1
    heads = [np.bincount(p["cat_10"].to_numpy() % ID_COUNTS[10]).argmax() for p in (before, after)]
    assert heads[0] != heads[1]
    rows = slice(drift.start - near, drift.start + near)
    same = truth(STREAM, events.slice(rows.start, 2 * near), drift.concept)
    np.testing.assert_allclose(bayes[rows], same, atol=1e-5)


def test_concepts_have_the_stated_click_rate_and_signal() -> None:
    settings = Settings(click_rate=0.1, signal=1.5, noise=0.0)
    for concept in range(3):
        p = truth(settings, block(settings, 0), concept).astype(float)
        assert p.mean() == pytest.approx(0.1, abs=0.01)
        assert np.log(p / (1 - p)).std() == pytest.approx(1.5, abs=0.1)


def test_noise_takes_from_what_can_be_known() -> None:
    quiet, loud = (block(Settings(noise=noise), 0)[BAYES].to_numpy() for noise in (0.0, 0.2))
    np.testing.assert_allclose(loud, 0.2 + 0.6 * quiet, atol=1e-6)
    assert bayes_ne(quiet) + 0.1 < bayes_ne(loud) < 1


def test_all_labels_are_noise_at_one_half() -> None:
    assert (block(Settings(noise=0.5), 0)[BAYES].to_numpy() == 0.5).all()


def test_both_traits_pairs_and_dense_inputs_matter_to_the_truth() -> None:
    from stream_prune.datasets.click_truth import concept

    rng = np.random.default_rng(1)
    shapes = {"dense": 13, "first": 26, "second": 26}
    inputs = {
        name: rng.standard_normal((rows, 4_000)).astype(np.float32) for name, rows in shapes.items()
    }
    drawn = concept((1,), 1, 0.5)
    whole = drawn.log_odds(Inputs(**inputs))
    for name, values in inputs.items():
        without = drawn.log_odds(Inputs(**(inputs | {name: np.zeros_like(values)})))
        assert np.corrcoef(whole, without)[0, 1] < 0.95


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("events", 0, "above 0"),
        ("lifetime", 0, "above 0"),
        ("signal", float("nan"), "above 0"),
        ("noise", 0.6, "in [0, 0.5]"),
        ("severity", -0.1, "in [0, 1]"),
        ("click_rate", 1.0, "in (0, 1)"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_is_allowed(setting, value, allowed) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**{setting: value})
    assert str(error.value) == f"synthetic: {setting} = {value}: must be {allowed}"
