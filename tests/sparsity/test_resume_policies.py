"""Whatever the policy, a run resumed from the checkpoint's files ends bit-identical."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from every_model import build, control
from plugin_models import OPTIMIZERS
from test_controller import Stream, run
from unit_policies import POLICIES

from stream_prune.drift import Cusum, DriftMonitor
from stream_prune.sparsity import Budget
from stream_prune.training.checkpoint import read_states, write_states
from stream_prune.training.torch_state import ModuleState, OptimizerState

STEPS, TURNS_AT = 50, 24


def fresh(policy: str, optimizer: str) -> tuple[Any, ...]:
    """Controller, model and optimizer as they begin, on a stream that turns around."""
    model, inputs = build("dlrm", 4)
    bound = OPTIMIZERS[optimizer](model.parameters())
    chosen, macs = POLICIES[policy]
    controller = control(
        "dlrm",
        model,
        bound,
        inputs,
        policy=chosen,
        budget=Budget(macs=macs if macs == 1 else 0.35, min_units=2, round_to=2),
        drift=DriftMonitor(Cusum(), slice_rows=50, cooldown_rows=300),
        window_rows=100,
    )
    return controller, model, bound


def parts(controller: Any, model: Any, optimizer: Any) -> dict[str, Any]:
    """In the order in which they are loaded."""
    return {
        "controller": controller,
        "model": ModuleState(model),
        "optimizer": OptimizerState(optimizer),
    }


def save(folder: Path, states: dict[str, Any]) -> bytes:
    folder.mkdir()
    write_states(folder, 0, {name: part.state_dict() for name, part in states.items()})
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_resumed_before_in_and_after_a_readjustment_writes_the_same_checkpoint(
    policy: str, optimizer: str, tmp_path: Path
) -> None:
    whole, stream = fresh(policy, optimizer), Stream(turns_at=TURNS_AT)
    moments, resized = {3}, 0
    for step in range(STEPS):
        before = whole[0].plan
        happened = run(*whole, stream, 1)
        if whole[0].plan != before and resized < 2:
            resized += 1
            moments |= {step, step + 1}
        if step in moments or (happened and len(moments) == 1):
            save(tmp_path / str(step), parts(*whole))
    assert resized or policy == "rate_on_drift"
    wanted = save(tmp_path / "end", parts(*whole))
    for step in sorted(int(path.name) for path in tmp_path.iterdir() if path.name != "end"):
        resumed, again = fresh(policy, optimizer), Stream(turns_at=TURNS_AT)
        states = read_states(tmp_path / str(step))
        torch.manual_seed(99)  # nothing may hang on the global generator
        for name, part in parts(*resumed).items():
            part.load_state_dict(states[name])
        for _ in range(step + 1):
            again.batch()
        run(*resumed, again, STEPS - step - 1)
        assert save(tmp_path / f"end-{step}", parts(*resumed)) == wanted, step
