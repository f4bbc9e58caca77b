"""A model that the controller pruned, regrew and pruned again is written as it stands."""

import numpy as np
import pytest
import torch
from small_model import SmallModel, raw_rows

from stream_prune.artifact import ModelCard, Scorer
from stream_prune.sparsity import Budget, Plan, SparsityController, Static


@pytest.fixture(scope="module")
def pruned():
    """A model with fewer units and rows than it began with, and the controller that did it."""
    model = SmallModel.build(seed=4)
    dense, ids, offsets = model.arrays(raw_rows(16))
    with torch.no_grad():
        emb = model.tables(ids, offsets)
    controller = SparsityController(
        model.head,
        model.optimizer,
        policy=Static(warmup_rows=512, shrink_steps=2),
        budget=Budget(macs=0.5, rows=0.5, min_units=2, round_to=2, whole_tables_below=0),
        example=(dense, emb),
        tables=model.tables.tables,
        window_rows=256,
    )
    for step in range(6):
        loss = model.learn(raw_rows(256, seed=step), seed=step)
        controller.step(loss, rows=256)
    return model, controller


def test_a_pruned_model_scores_as_the_trainer_does(pruned, tmp_path):
    model, controller = pruned
    scorer = Scorer.load(model.write(tmp_path / "m", plan=controller.plan))
    raw = raw_rows(200, seed=77)
    np.testing.assert_allclose(scorer.score(raw), model.score(raw), atol=2e-6)


def test_the_artifact_is_as_small_as_the_live_model(pruned, tmp_path):
    model, controller = pruned
    assert controller.cost().macs_inference <= 0.5 * controller.dense_cost.macs_inference
    full = SmallModel.build(seed=4)
    small = model.write(tmp_path / "small", plan=controller.plan) / "head.safetensors"
    large = full.write(tmp_path / "large") / "head.safetensors"
    live = sum(v.numel() * v.element_size() for v in model.head.state_dict().values())
    assert live <= small.stat().st_size < live + 2500 < large.stat().st_size


def test_the_card_holds_the_plan_and_the_live_shapes(pruned, tmp_path):
    model, controller = pruned
    card = ModelCard.read(model.write(tmp_path / "m", plan=controller.plan))
    assert card.plan is not None
    assert Plan.from_dict(card.plan) == controller.plan
    assert {t.name: t.capacity for t in card.tables} == dict(controller.plan.rows)
    assert card.head.shapes["top.0.weight"] == list(model.head.top[0].weight.shape)
    assert card.head.config["top"] == [32, 16]  # as configured; the shapes say what is left


def test_writing_changes_nothing_for_an_armed_controller(pruned, tmp_path):
    model, controller = pruned
    before = {k: v.clone() for k, v in model.head.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.head.modules()]
    plan = controller.plan
    model.write(tmp_path / "m", plan=plan)
    assert controller.plan == plan
    assert all(torch.equal(v, before[k]) for k, v in model.head.state_dict().items())
    assert hooks == [
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.head.modules()
    ]
    controller.step(model.learn(raw_rows(64, seed=9)), rows=64)  # still its own model
