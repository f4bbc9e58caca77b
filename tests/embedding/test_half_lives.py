"""Learned half-lives and coverage: what a stream asks for is what a table gets."""

import numpy as np
import pytest
import torch

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.half_lives import Tuning

CANDIDATES = (300.0, 3_000.0, 30_000.0)


def tables(**settings: object) -> EmbeddingTables:
    config = TableConfig("t", 40, half_life=3_000, half_lives=CANDIDATES, **settings)
    return EmbeddingTables([config], dim=2, lr=0.1, tuning=Tuning(100, maturity=2, churn=1))


def feed(learned: EmbeddingTables, ids: np.ndarray) -> None:
    for part in np.split(ids, range(50, ids.size, 50)):
        learned.admit(part.astype(np.int64))
        learned.adapt()


def short_lived(events: int) -> np.ndarray:
    """Every 1,500 events 30 other ids."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 30, events) + 1_000 * (np.arange(events) // 1_500)


def lasting(events: int) -> np.ndarray:
    """The same 40 ids, each seen rarely, among as many that are seen twice and never again."""
    generator = np.random.default_rng(0)
    once = 10_000 + np.arange(events) // 4
    return np.where(np.arange(events) % 2, generator.integers(0, 40, events), once)


def test_ids_that_die_soon_ask_for_a_short_half_life_and_lasting_ones_for_a_long_one():
    soon, late = tables(), tables()
    feed(soon, short_lived(20_000))
    feed(late, lasting(20_000))
    assert soon.tables["t"].half_life == 300.0
    assert late.tables["t"].half_life >= 3_000.0
    assert (late.tables["t"].ids() < 10_000).mean() > 0.9


def test_a_drift_shortens_the_half_life_and_coverage_may_lengthen_it_again():
    late = tables()
    feed(late, lasting(20_000))
    before = late.tables["t"].half_life
    late.drifted()
    assert late.tables["t"].half_life < before


@pytest.mark.filterwarnings("error")
def test_a_table_that_has_rested_for_long_counts_on_in_the_scale_of_now():
    config = TableConfig("t", 40, half_life=3_000, half_lives=(4.0, 3_000.0))
    made = EmbeddingTables([config], dim=2, lr=0.1, tuning=Tuning(100, maturity=2, churn=1))
    feed(made, np.random.default_rng(0).integers(0, 10, 5_000))  # rows for all: nothing to choose
    feed(made, 100 + lasting(20_000))
    assert torch.isfinite(made.state_dict()["rows.ghosts.counts"]).all()
    assert made.tables["t"].half_life == 3_000.0


def test_the_coverage_curve_rises_to_what_the_rows_really_find():
    made = tables()
    stream = lasting(20_000)
    feed(made, stream[:15_000])
    curve = made.tables["t"].coverage_curve()
    shares = [point.coverage for point in curve]
    assert shares == sorted(shares)
    found = made.lookup(stream[15_000:]) > 0
    at = next(point.coverage for point in curve if point.rows >= 40)
    assert abs(at - found.mean()) < 0.1


def test_without_candidates_there_are_no_ghosts_and_no_curve():
    plain = EmbeddingTables([TableConfig("t", 40, half_life=300)], dim=2, lr=0.1)
    feed(plain, short_lived(5_000))
    assert plain.tables["t"].half_life == 300
    assert plain.tables["t"].coverage_curve() == []


def test_an_evicted_row_comes_back_as_it_was():
    made = EmbeddingTables([TableConfig("t", 4, admission=1, waiting=1.0)], dim=2, lr=0.1)
    made.admit(np.array([5, 6]))
    made(np.array([5, 6])).sum().backward()
    made.step()
    before = made(np.array([5])).detach().clone()
    made.tables["t"].resize(0)
    assert not torch.equal(made(np.array([5])).detach(), before)
    made.tables["t"].resize(2)
    made.admit(np.array([5]))
    assert torch.equal(made(np.array([5])).detach(), before)
