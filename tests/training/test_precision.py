"""Training with the head's products in bfloat16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.minibatch.batch import BatchName, MiniBatch
from stream_prune.training.build import build
from stream_prune.training.config import ModelConfig, TablesConfig, TrainingConfig

SPEC = FeatureSpec.from_dict(
    {"event_time": "time", "label": "label", "dense": ["x"], "categorical": ["id"]}
)
CONFIG = TrainingConfig(
    run=Path("none"),
    log=Path("none"),
    device="cpu",
    precision="bfloat16",
    model=ModelConfig(dim=4, bottom=(16,), top=(16,)),
    tables=TablesConfig(default_capacity=50),
)


def batch(seed: int) -> MiniBatch:
    rng = np.random.default_rng(seed)
    ids = rng.integers(50, size=256)
    return MiniBatch(
        name=BatchName(0, 0, seed),
        event_time=np.arange(256),
        dense=rng.normal(size=(256, 1)).astype(np.float32),
        ids=ids,
        offsets=None,
        label=(ids % 2).astype(np.float32),
    )


def test_products_are_bfloat16_and_what_is_kept_is_float32() -> None:
    made = build(CONFIG, SPEC)
    seen = set()
    made.head.top[0].register_forward_hook(lambda layer, given, out: seen.add(out.dtype))
    for seed in range(120):
        made.learn(batch(seed))
    assert seen == {torch.bfloat16}
    kept = [*made.head.parameters(), made.tables.weight]
    assert {tensor.dtype for tensor in kept} == {torch.float32}
    scores = made.score(batch(99))
    assert scores.dtype == np.float32
    assert scores[batch(99).label == 1].mean() > scores[batch(99).label == 0].mean() + 0.1


def test_it_learns_nearly_what_float32_learns() -> None:
    both = [build(replace(CONFIG, precision=each), SPEC) for each in ("float32", "bfloat16")]
    for seed in range(20):
        for made in both:
            made.learn(batch(seed))
    full, half = (made.score(batch(99)) for made in both)
    assert 0 < np.abs(full - half).max() < 0.05


def test_another_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="precision = 'half': must be one of float32, bfloat16"):
        replace(CONFIG, precision="half")
