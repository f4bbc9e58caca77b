"""FBGEMM as the back end: the same results, the same states, and reasons where it can't."""

import builtins

import numpy as np
import pytest
import torch

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.errors import ConfigError

CONFIGS = (
    TableConfig("one", 20, half_life=200, waiting=0.5),
    TableConfig("bag", 12, admission=1, half_life=100, combine="sum", cold_share=0.25),
)


def tables(backend: str) -> EmbeddingTables:
    return EmbeddingTables(CONFIGS, dim=8, lr=0.1, seed=2, init_std=0.5, backend=backend)


def batch(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, torch.Tensor]:
    """Ids, offsets, weights and an upstream gradient; some bags are empty."""
    generator = np.random.default_rng(step)
    lengths = np.concatenate([np.ones(16, np.int64), generator.integers(0, 4, 16)])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = generator.zipf(1.4, offsets[-1]) % (40 + step)
    weights = generator.random(ids.size).astype(np.float32)
    return ids, offsets, weights, torch.from_numpy(generator.normal(size=(16, 2, 8))).float()


def learn(learned: EmbeddingTables, step: int, passes: int = 1) -> torch.Tensor:
    ids, offsets, weights, gradient = batch(step)
    found = learned.admit(ids, offsets, weights)
    for _ in range(passes):
        out = learned.read(found)
        out.backward(gradient)
    learned.step()
    return out.detach()


def assert_agree(a: EmbeddingTables, b: EmbeddingTables) -> None:
    torch.testing.assert_close(a.weight, b.weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(a.accumulator, b.accumulator, rtol=1e-5, atol=1e-6)
    for name in a.tables:
        assert a.tables[name].ids().tolist() == b.tables[name].ids().tolist()


def test_fbgemm_agrees_with_the_flat_back_end_to_float32_rounding():
    flat, fused = tables("flat"), tables("fbgemm")
    assert (flat.backend, fused.backend) == ("flat", "fbgemm")
    for step in range(40):
        for learned in (flat, fused):
            learned.rate = 1.0 + step % 2
        torch.testing.assert_close(learn(flat, step), learn(fused, step), rtol=1e-5, atol=1e-6)
        for learned in (flat, fused):
            learned.adapt()
            if step in (15, 25):
                learned.resize({"one": 8 if step == 15 else 16})
    assert_agree(flat, fused)
    with torch.no_grad():
        ids, offsets, _, _ = batch(99)
        torch.testing.assert_close(flat(ids, offsets), fused(ids, offsets), rtol=1e-5, atol=1e-6)


def test_passes_before_one_step_are_summed_as_with_the_flat_back_end():
    flat, fused = tables("flat"), tables("fbgemm")
    for step in range(10):
        learn(flat, step, passes=2)
        learn(fused, step, passes=2)
    assert_agree(flat, fused)


@pytest.mark.parametrize(("before", "after"), [("flat", "fbgemm"), ("fbgemm", "flat")])
def test_either_back_end_loads_the_others_checkpoint(before, after):
    old, new = tables(before), tables(after)
    for step in range(20):
        learn(old, step)
        old.adapt()
    new.load_state_dict(old.state_dict())
    for step in range(20, 30):
        learn(old, step)
        learn(new, step)
    assert_agree(old, new)


def test_a_step_that_is_dropped_changes_nothing():
    fused = tables("fbgemm")
    ids, offsets, weights, gradient = batch(0)
    found = fused.admit(ids, offsets, weights)
    before = fused.weight.clone()
    fused.read(found).backward(gradient)
    fused.discard()
    fused.step()
    assert torch.equal(fused.weight, before)


def test_a_width_that_fbgemm_has_no_kernel_for_is_refused_with_the_way_out():
    with pytest.raises(ConfigError, match=r"dim = 6: FBGEMM needs a multiple of 4.*'flat'"):
        EmbeddingTables(CONFIGS, dim=6, lr=0.1, backend="fbgemm")


def test_an_fbgemm_that_does_not_load_is_named_with_the_way_out(monkeypatch):
    whole = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.startswith("fbgemm_gpu"):
            raise ImportError("libtorch.so: undefined symbol")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"undefined symbol.*stream-prune\[fbgemm\].*'flat'"):
        tables("fbgemm")


def test_another_back_end_is_refused():
    with pytest.raises(ValueError, match="backend = 'gpu': must be one of flat, fbgemm"):
        tables("gpu")
