"""The learning-rate multiplier and the schedules beside it."""

import pytest
import torch
from plugin_models import build
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from stream_prune.sparsity.rates import RateMultiplier


def decaying(optimizer: torch.optim.Optimizer) -> LambdaLR:
    return LambdaLR(optimizer, lambda epoch: 0.9**epoch)


def cosine(optimizer: torch.optim.Optimizer) -> CosineAnnealingLR:
    return CosineAnnealingLR(optimizer, T_max=20)


@pytest.mark.parametrize("schedule", [decaying, cosine])
def test_a_schedule_sees_its_own_rates_and_steps_use_them_multiplied(schedule) -> None:
    plain_model, batch = build("mlp")
    model, _ = build("mlp")
    plain, optimizer = SGD(plain_model.parameters(), 0.1), SGD(model.parameters(), 0.1)
    multiplier = RateMultiplier(optimizer, frozenset([0]))
    multiplier.value = 3.0
    plain_schedule, multiplied_schedule = schedule(plain), schedule(optimizer)
    used: list[float] = []
    optimizer.register_step_pre_hook(lambda o, *_: used.append(o.param_groups[0]["lr"]))
    inputs = batch(4)
    for _ in range(10):
        for bound, net in ((plain, plain_model), (optimizer, model)):
            bound.zero_grad()
            net(*inputs).mean().backward()
            bound.step()
        assert used[-1] == plain.param_groups[0]["lr"] * 3.0
        plain_schedule.step()
        multiplied_schedule.step()
        assert optimizer.param_groups[0]["lr"] == plain.param_groups[0]["lr"]
        assert multiplied_schedule.get_last_lr() == plain_schedule.get_last_lr()


def test_a_state_saved_between_steps_holds_the_plain_rate_and_only_chosen_groups_are_scaled() -> (
    None
):
    model, batch = build("dlrm")
    groups = [{"params": model.bottom.parameters()}, {"params": model.top.parameters(), "lr": 0.2}]
    optimizer = Adam(groups, lr=0.1)
    multiplier = RateMultiplier(optimizer, frozenset([1]))
    multiplier.value = 5.0
    used: list[list[float]] = []
    optimizer.register_step_pre_hook(
        lambda o, *_: used.append([group["lr"] for group in o.param_groups])
    )
    model(*batch(4)).mean().backward()
    optimizer.step()
    assert used == [[0.1, 1.0]]
    assert [group["lr"] for group in optimizer.state_dict()["param_groups"]] == [0.1, 0.2]


def test_a_step_that_fails_does_not_compound_the_rate() -> None:
    model, _ = build("mlp")
    optimizer = SGD(model.parameters(), 0.1)
    RateMultiplier(optimizer, frozenset([0])).value = 2.0

    def fails() -> float:
        raise ArithmeticError

    for _ in range(2):
        with pytest.raises(ArithmeticError):
            optimizer.step(fails)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == 0.1
