"""The comparison of training speed: everybody learns the same, and what the limit holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from compare_throughput.clicks import (
    BATCH,
    BOTTOM,
    NARROW_BOTTOM,
    NARROW_TOP,
    TEST_ROWS,
    TOP,
    Clicks,
    clicks,
    logloss,
)
from compare_throughput.figures import FUXICTR, OWN, equal_or_better, over
from compare_throughput.limit import Limit
from compare_throughput.own import Own, minibatches
from compare_throughput.peer import Peer
from compare_throughput.turns import turns
from torch.utils.flop_counter import FlopCounterMode

from stream_prune.sparsity.cost import dense_cost
from stream_prune.sparsity.example import Example


@pytest.fixture(scope="module")
def log() -> Clicks:
    return clicks(5_000, 4)


def test_the_log_has_what_was_asked_for_and_something_to_learn(log: Clicks) -> None:
    assert log.batches == 4
    assert sum(log.sizes) == pytest.approx(5_000, rel=0.05)
    assert (log.ids < np.array(log.sizes)).all()
    rate = float(log.label.mean())
    assert 0.1 < rate < 0.4
    assert logloss(np.array([1, 0], np.float32), np.array([0.5, 0.5], np.float32)) == np.log(2)


def test_the_limit_is_the_products_that_torch_counts_in_a_step(log: Clicks) -> None:
    own = Own(log, minibatches(log), NARROW_BOTTOM, NARROW_TOP)
    rows = torch.from_numpy(own.learner.tables.lookup(own.batches[0].ids))
    limit = Limit(NARROW_BOTTOM, NARROW_TOP, own.learner.tables.weight, rows)
    with FlopCounterMode(display=False) as counted:
        limit.learn(1)
    example = torch.randn(2, 13), torch.randn(2, 26, 16, requires_grad=True)
    cost = dense_cost(own.learner.head, Example(example))
    # Both gradients of the pairs are one product, since their matrix is symmetric.
    products = cost.macs_training - 27 * 27 * 16
    assert counted.get_total_flops() == pytest.approx(2 * BATCH * products, rel=0.01)


def test_everybody_learns_every_batch_once_in_alternating_order() -> None:
    order: list[str] = []

    class Counted:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, batches: int) -> None:
            order.append(self.name)
            assert batches == 3

    time = iter(np.cumsum([1.0] * 100).tolist())
    found = turns({"a": Counted("a"), "b": Counted("b")}, 2, 3, clock=lambda: next(time))
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert found["a"].tolist() == [3 * BATCH] * 2


def test_a_narrow_model_is_a_fifth_as_wide() -> None:
    for full, narrow in ((BOTTOM, NARROW_BOTTOM), (TOP, NARROW_TOP)):
        for wide, thin in zip(full, narrow, strict=True):
            assert thin == pytest.approx(wide / 5, abs=5)


def test_a_peer_learns_in_a_process_of_its_own_and_is_tested(log: Clicks, tmp_path: Path) -> None:
    peer = Peer("deepctr-torch", Path(sys.executable), log.save(tmp_path))
    try:
        before = peer.test()
        assert peer.learn(3) > 0
        assert peer.learn(1) > 0
        after = peer.test()
    finally:
        peer.close()
    own = Own(log, minibatches(log), (8,), (8,))
    own.learn(log.batches)
    rate = float(log.label[-TEST_ROWS:].mean())
    entropy = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    assert after < before
    assert own.test() < entropy * 1.05


def test_a_peer_that_fails_is_named(log: Clicks, tmp_path: Path) -> None:
    peer = Peer("nobody", Path(sys.executable), log.save(tmp_path))
    with pytest.raises(SystemExit, match="nobody has ended with status 1"):
        peer.learn(1)


def test_ratios_are_of_one_turn() -> None:
    found = {OWN: np.array([20.0, 40.0, 30.0]), FUXICTR: np.array([10.0, 10.0, 15.0])}
    (figure,) = over("1 M rows", found, OWN, FUXICTR, 2)
    assert (figure.value, figure.holds) == (2.0, True)
    assert over("1 M rows", found, OWN, "limit", 0.8) == []
    (above,) = equal_or_better("1 M rows", {OWN: 0.5, FUXICTR: 0.48}, OWN)
    assert above.holds is False
