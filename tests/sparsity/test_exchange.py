"""Units that make room for others: which, and how those that come begin."""

from __future__ import annotations

import copy
from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import MODELS, OPTIMIZERS, build, proven, train

from stream_prune.sparsity.budget import Budget
from stream_prune.sparsity.exchange import drawn, exchanged, newcomers
from stream_prune.sparsity.groups import named_tensors
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.optimizer_state import element_states
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.renew import renew

BUDGET = Budget(macs=0.5, min_units=2, round_to=2)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_drawn_meets_the_budget(name: str) -> None:
    cost = proven(name).cost
    units = drawn(cost, BUDGET, seed=1)
    widths = {group: len(kept) for group, kept in units.items()}
    assert cost.share(widths) <= BUDGET.macs
    for group, full in cost.units.items():
        wider = min(full, widths[group] + BUDGET.round_to)
        assert widths[group] == full or cost.share({**widths, group: wider}) > BUDGET.macs


def test_what_is_drawn_is_the_same_share_of_all_groups_to_a_rounding_step() -> None:
    cost = proven("dlrm").cost
    for macs in (0.3, 0.5, 0.8):
        units = drawn(cost, Budget(macs=macs, min_units=1, round_to=1), seed=1)
        shares = [len(units[group]) / full for group, full in cost.units.items()]
        assert max(shares) - min(shares) <= 2 / min(cost.units.values())


def test_equal_seeds_draw_equal_units_and_others_do_not() -> None:
    cost = proven("dlrm").cost
    assert drawn(cost, BUDGET, 1) == drawn(cost, BUDGET, 1)
    assert drawn(cost, BUDGET, 1) != drawn(cost, BUDGET, 2)


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_the_least_important_make_room_for_as_many_that_were_gone(units: int, data: object) -> None:
    draw = data.draw  # type: ignore[attr-defined]
    kept = tuple(sorted(draw(st.sets(st.integers(0, units - 1), min_size=1))))
    scores = torch.tensor(draw(st.lists(st.floats(0, 1), min_size=units, max_size=units)))
    fraction = draw(st.floats(0.01, 1))
    after = exchanged({"g": scores}, {"g": kept}, fraction, "7/100")["g"]
    grown = newcomers({"g": kept}, {"g": after})["g"]
    dropped = set(kept) - set(after)
    assert len(after) == len(kept)
    assert len(grown) == min(ceil(fraction * len(kept)), units - len(kept))
    assert not set(grown) & set(kept)
    stayed = [float(scores[unit]) for unit in set(kept) & set(after)]
    assert all(float(scores[unit]) <= min(stayed, default=1.0) for unit in dropped)
    assert after == exchanged({"g": scores}, {"g": kept}, fraction, "7/100")["g"]


def test_what_comes_differs_from_time_to_time() -> None:
    scores, kept = {"g": torch.arange(64.0)}, {"g": tuple(range(32))}
    results = {exchanged(scores, kept, 0.25, f"0/{rows}")["g"] for rows in range(5)}
    assert len(results) == 5


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "momentum"])
@pytest.mark.parametrize("name", MODELS)
def test_units_that_come_change_no_output_and_begin_anew(name: str, optimizer: str) -> None:
    model, batch = build(name)
    inputs = batch(16)
    optim = OPTIMIZERS[optimizer](model.parameters())
    live = LiveModel(model, optim, proven(name), {})
    layout, kept = live.proven.layout, drawn(live.proven.cost, BUDGET, seed=3)
    live.resize_units(kept)
    train(model, optim, inputs, 3)
    scores = {group: torch.rand(units) for group, units in live.proven.cost.units.items()}
    after = exchanged(scores, kept, 0.5, "3/50")
    grown = newcomers(kept, after)
    assert any(grown.values())

    masked = copy.deepcopy(model).eval()  # what is dropped, masked
    tensors = dict(named_tensors(masked))
    for group in layout.groups:
        gone = [kept[group.name].index(unit) for unit in newcomers(after, kept)[group.name]]
        for member in group.consumed:
            positions = layout.live_positions(member, group.name, live.plan)[gone].flatten()
            tensors[member.param].data.index_fill_(member.axis, positions, 0.0)

    live.resize_units(after)
    renew(model, optim, layout, live.plan, grown)
    torch.testing.assert_close(model.eval()(*inputs), masked(*inputs), rtol=1e-4, atol=1e-5)

    first = 0.1 if optimizer == "adagrad" else 0.0  # where OPTIMIZERS lets Adagrad begin
    begun = 0
    for group in layout.groups:
        at = [live.plan.units[group.name].index(unit) for unit in grown[group.name]]
        for member in group.members:
            tensor = dict(named_tensors(model))[member.param]
            positions = layout.live_positions(member, group.name, live.plan)[at].flatten()
            for state in element_states(optim, member.param, tensor).values():
                assert (state.index_select(member.axis, positions) == first).all()
                begun += len(positions)
            if at and member in group.produced and tensor.dim() > 1:
                assert tensor.index_select(member.axis, positions).any()
    assert begun


def test_the_state_of_units_that_stay_stays() -> None:
    model, batch = build("mlp")
    inputs = batch(16)
    optim = OPTIMIZERS["adam"](model.parameters())
    live = LiveModel(model, optim, proven("mlp"), {})
    groups = [group.name for group in live.proven.groups]
    before = {name: tuple(range(8)) for name in groups}
    live.resize_units(before)
    train(model, optim, inputs, 3)
    state = optim.state[model.layers[0].weight]["exp_avg"].clone()
    after = {**before, groups[0]: (*range(7), 9)}
    live.resize_units(after)
    renew(model, optim, live.proven.layout, Plan(after), newcomers(before, after))
    now = optim.state[model.layers[0].weight]["exp_avg"]
    assert torch.equal(now[:7], state[:7])
    assert not now[7].any()
    assert state[7].any()
