"""Training runs whose head is held sparse by masks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trainer import a_config, assert_same_bits, final_states, journal_of
from training_logs import HOUR, a_spec, drifting_rows, write_log

from stream_prune.sparsity.elements.bitmask import from_bits
from stream_prune.training.build import build
from stream_prune.training.torch_state import ModuleState
from stream_prune.training.trainer import Trainer

POLICIES: dict[str, dict[str, Any]] = {
    "dsl": {"anneal_steps": 60, "every": 5, "accumulate": 2},
    "rigl": {"anneal_steps": 60, "every": 5},
    "set_evolution": {"every": 5},
}


def elements(policy: str) -> dict[str, Any]:
    return {"elements": {"density": 0.3, "policy": policy, "parameters": POLICIES[policy]}}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_taken_up_again_and_again_ends_like_one_in_one_go(tmp_path: Path, policy: str):
    spec, rows = a_spec(), drifting_rows(2000)
    log = write_log(tmp_path / "log", spec, rows)
    whole = a_config(tmp_path, "whole", **elements(policy))
    summary = Trainer(whole).run()
    parts = replace(a_config(tmp_path, "parts", **elements(policy)), log=tmp_path / "growing")
    for hours in (5, 6, 15, None):
        until = None if hours is None else (400 + hours) * HOUR
        write_log(parts.log, spec, rows, until=until)
        Trainer(parts).run()
    assert_same_bits(final_states(whole), final_states(parts))
    expected, found = journal_of(whole), journal_of(parts)
    del expected[0]["config"]["log"], found[0]["config"]["log"]
    assert found == expected

    rewired = [line for line in expected if line["kind"] == "rewire"]
    assert summary["rewirings"] == len(rewired) >= 5
    assert all(sum(line["plan"]["moved"].values()) > 0 for line in rewired)
    assert summary["macs_inference"] == summary["dense_macs_inference"]
    biases = sum(p.numel() for p in build(whole, log.spec).head.parameters() if p.dim() < 2)
    weights = summary["dense_parameters"] - biases
    assert summary["parameters"] == int(0.3 * weights) + biases


def test_the_saved_head_is_zero_outside_of_the_saved_masks(tmp_path: Path):
    log = write_log(tmp_path / "log", a_spec(), drifting_rows(1000))
    config = a_config(tmp_path, **elements("rigl"))
    Trainer(config).run()
    states = final_states(config)
    masks = {
        key.removeprefix("live/mask/"): bits
        for key, bits in states["controller"].items()
        if key.startswith("live/mask/")
    }
    assert set(masks) == {"bottom.0.weight", "bottom.2.weight"} | {
        f"top.{layer}.weight" for layer in (0, 2, 4)
    }
    for name, bits in masks.items():
        weight = states["head"][name]
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bits, torch.Tensor)
        assert not weight[~from_bits(bits, weight.shape)].any()
    learner = build(config, log.spec)  # as an artifact is written from a checkpoint
    assert learner.controller is not None
    learner.controller.load_state_dict(states["controller"])
    ModuleState(learner.head).load_state_dict(states["head"])
    assert learner.controller.plan is None
    for name, value in learner.head.state_dict().items():
        assert torch.equal(value, states["head"][name])
