"""The controller of elements in a training loop."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plugin_models import OPTIMIZERS, build
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, Optimizer

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity import DSL, SET, ElementController, Event, RigL

POLICIES: dict[str, Any] = {
    "dsl": DSL(anneal_steps=40, every=4, fraction=0.5),
    "dsl_accumulating": DSL(anneal_steps=40, every=4, accumulate=3, densities="erk"),
    "rigl": RigL(anneal_steps=40, every=4, fraction=0.4),
    "set_evolution": SET(every=4, fraction=0.4),
}
OPTIMIZERS = {**OPTIMIZERS, "decaying": lambda params: SGD(params, 1e-2, 0.9, weight_decay=0.1)}
Made = tuple[ElementController, nn.Module, Optimizer, Callable[[int], tuple[Tensor, ...]]]


def make(
    policy: Any = POLICIES["rigl"],
    *,
    model: str = "dlrm",
    optimizer: str = "adam",
    density: float = 0.25,
    **options: Any,
) -> Made:
    network, batch = build(model)
    bound = OPTIMIZERS[optimizer](network.parameters())
    controller = ElementController(
        network, bound, policy=policy, density=density, example=batch(4), **options
    )
    return controller, network, bound, batch


def learn(made: Made, step: int) -> tuple[Event, ...]:
    controller, model, optimizer, batch = made
    torch.manual_seed(step)
    inputs = batch(16)
    optimizer.zero_grad()
    (model(*inputs) - 1.0).square().mean().backward()
    optimizer.step()
    return controller.step(event_time=step * 1000, rows=16)


def masked_params(made: Made) -> dict[str, nn.Parameter]:
    controller, model = made[:2]
    return {n: p for n, p in model.named_parameters() if n not in controller.refused}


@pytest.mark.parametrize("model", ["dlrm", "conv"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("policy", POLICIES)
def test_removed_weights_are_zero_and_without_state_after_every_step_and_none_are_lost(
    policy: str, optimizer: str, model: str
) -> None:
    made = make(POLICIES[policy], model=model, optimizer=optimizer)
    controller, _, bound, _ = made
    counts = {name: int(controller.mask(name).sum()) for name in masked_params(made)}
    total = sum(param.numel() for param in masked_params(made).values())
    assert sum(counts.values()) == int(0.25 * total)
    start = 0.1 if isinstance(bound, Adagrad) else 0.0
    for step in range(13):
        events = learn(made, step)
        assert [e.kind for e in events if e.kind == "rewire"] == ["rewire"] * (step % 4 == 3)
        for name, param in masked_params(made).items():
            mask = controller.mask(name)
            assert int(mask.sum()) == counts[name]
            assert not param[~mask].any()
            for key, value in bound.state[param].items():
                if isinstance(value, Tensor) and value.shape == param.shape:
                    wanted = start if key == "sum" else 0.0
                    assert torch.equal(value[~mask], torch.full_like(value[~mask], wanted)), key
    assert controller.density == sum(counts.values()) / total


@pytest.mark.parametrize("policy", POLICIES)
def test_grown_weights_start_at_zero_without_state_and_then_learn(policy: str) -> None:
    made = make(POLICIES[policy])
    controller, model, optimizer, _ = made
    for step in range(3):
        learn(made, step)
    before = {name: controller.mask(name) for name in masked_params(made)}
    (event,) = learn(made, 3)
    grown = {name: controller.mask(name) & ~mask for name, mask in before.items()}
    assert event.plan["moved"] == {name: int(mask.sum()) for name, mask in grown.items()}
    assert sum(event.plan["moved"].values()) > 20
    assert event.plan_before["weights"] == {name: int(mask.sum()) for name, mask in before.items()}
    params = dict(model.named_parameters())
    for name, mask in grown.items():
        assert not params[name][mask].any()
        for key in ("exp_avg", "exp_avg_sq"):
            assert not optimizer.state[params[name]][key][mask].any()
    learn(made, 4)
    assert sum(int(params[name][mask].count_nonzero()) for name, mask in grown.items()) > 5


def test_growth_follows_the_dense_gradient_of_the_last_mini_batch() -> None:
    made = make(RigL(anneal_steps=100, every=1, fraction=0.3), optimizer="sgd", model="mlp")
    controller, model, _, batch = made
    for step in range(5):
        before = {name: controller.mask(name) for name in masked_params(made)}
        torch.manual_seed(step)
        model.zero_grad()
        (model(*batch(16)) - 1.0).square().mean().backward()
        gradients = {name: p.grad.abs().clone() for name, p in masked_params(made).items()}
        learn(made, step)
        for name, gradient in gradients.items():
            grown = controller.mask(name) & ~before[name]
            left = ~controller.mask(name) & ~before[name]
            if bool(grown.any()) and bool(left.any()):
                assert gradient[grown].min() >= gradient[left].max()


def test_accumulated_growth_follows_the_sum_of_the_last_gradients() -> None:
    policy = DSL(anneal_steps=100, every=3, accumulate=2)
    made = make(policy, optimizer="sgd", model="mlp", params=["layers.0.weight"])
    controller, model, _, batch = made
    weight, total = model.layers[0].weight, torch.zeros(16, 6)
    for step in range(3):
        before = controller.mask("layers.0.weight")
        torch.manual_seed(step)
        model.zero_grad()
        (model(*batch(16)) - 1.0).square().mean().backward()
        if step > 0:
            total += weight.grad
        learn(made, step)
    grown = controller.mask("layers.0.weight") & ~before
    left = ~controller.mask("layers.0.weight") & ~before
    assert total.abs()[grown].min() >= total.abs()[left].max()


CASES = {
    "dsl": ("adam", "dlrm"),
    "dsl_accumulating": ("adagrad", "conv"),
    "rigl": ("rmsprop", "dlrm"),
    "set_evolution": ("momentum", "mlp"),
}


def outcome(made: Made) -> dict[str, Any]:
    controller, model, optimizer, _ = made
    found: dict[str, Any] = {**controller.state_dict(), **model.state_dict()}
    for number, state in optimizer.state_dict()["state"].items():
        found |= {f"{number}/{key}": value for key, value in state.items()}
    return found


def same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


@pytest.mark.parametrize("policy", CASES)
@settings(max_examples=8, deadline=None)
@given(at=st.integers(0, 14), within=st.booleans(), last=st.booleans())
def test_a_run_resumed_at_any_step_ends_bit_identical(
    policy: str, at: int, within: bool, last: bool
) -> None:
    """``within``: saved between the optimizer's step and the controller's; ``last``: restored in
    the order model, optimizer, controller."""
    optimizer, model = CASES[policy]
    make_one = {"model": model, "optimizer": optimizer, "density": 0.3}
    whole = make(POLICIES[policy], **make_one)
    events = []
    for step in range(16):
        if step != at:
            events += [_stable(event) for event in learn(whole, step)]
            continue
        controller, network, bound, batch = whole
        torch.manual_seed(step)
        inputs = batch(16)
        bound.zero_grad()
        (network(*inputs) - 1.0).square().mean().backward()
        bound.step()
        if not within:
            events += [_stable(event) for event in controller.step(event_time=step * 1000, rows=16)]
        parts = controller, network, bound
        saved, known = copy.deepcopy([part.state_dict() for part in parts]), len(events)
        if within:
            events += [_stable(event) for event in controller.step(event_time=step * 1000, rows=16)]
    resumed = make(POLICIES[policy], **make_one, seed=99)  # the saved seed is what counts
    order = [1, 2, 0] if last else [0, 1, 2]
    for part in order:
        resumed[part].load_state_dict(saved[part])
    again = []
    if within:
        again += [_stable(e) for e in resumed[0].step(event_time=at * 1000, rows=16)]
    for step in range(at + 1, 16):
        again += [_stable(event) for event in learn(resumed, step)]
    assert again == events[known:]
    wanted, found = outcome(whole), outcome(resumed)
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        assert same(found[key], value), key


def _stable(event: Event) -> dict[str, Any]:
    return {key: value for key, value in event.record().items() if key != "seconds"}


def test_masks_in_the_state_are_a_bit_for_each_weight_and_everything_is_plain() -> None:
    made = make()
    for step in range(3):
        learn(made, step)
    state = made[0].state_dict()
    for key, value in state.items():
        assert type(value) in (Tensor, int, float, str, bytes), key
    bits = {key: value for key, value in state.items() if key.startswith("live/mask/")}
    sizes = [param.numel() for param in masked_params(made).values()]
    assert [value.nbytes for value in bits.values()] == [-(-size // 8) for size in sizes]


def test_a_state_of_another_policy_or_model_is_refused() -> None:
    state = make()[0].state_dict()
    with pytest.raises(ConfigError, match="policy is 'RigL', not SET"):
        make(SET())[0].load_state_dict(state)
    with pytest.raises(ConfigError, match=r"it masks .* resume with the model and `params`"):
        make(params=["top.0.weight"])[0].load_state_dict(state)


def test_kept_weights_start_scaled_to_the_spread_that_their_layer_was_built_for() -> None:
    torch.manual_seed(0)
    layer, dense = nn.Linear(400, 300), nn.Linear(400, 300)
    dense.load_state_dict(layer.state_dict())
    inputs = torch.randn(64, 400)
    controller = ElementController(
        layer,
        Adam(layer.parameters()),
        policy=SET(),
        density=0.1,
        example=inputs,
        params=["weight", "bias"],
    )
    kept = controller.mask("weight")
    factor = (kept.numel() / int(kept.sum())) ** 0.5
    assert torch.allclose(layer.weight[kept], dense.weight[kept] * factor)
    assert torch.equal(layer.bias, dense.bias * controller.mask("bias"))
    with torch.no_grad():
        assert float(layer(inputs).std() / dense(inputs).std()) == pytest.approx(1, abs=0.05)


def test_equal_seeds_give_equal_masks_and_leave_the_global_generator_alone() -> None:
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        model, batch = build("dlrm")
        example = batch(4)
        before = torch.get_rng_state()
        optimizer = Adam(model.parameters())
        controller = ElementController(
            model, optimizer, policy=SET(), density=0.3, example=example, seed=seed
        )
        assert torch.equal(torch.get_rng_state(), before)
        masks.append(controller.mask("top.0.weight"))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_the_cost_is_the_dense_models_and_parameters_are_the_live_ones() -> None:
    made = make(density=0.2)
    controller, model = made[:2]
    learn(made, 0)
    cost, dense = controller.cost(), controller.dense_cost
    assert cost[:2] == dense[:2]
    biases = sum(p.numel() for p in model.parameters() if p.dim() == 1)
    kept = sum(int(controller.mask(name).sum()) for name in masked_params(made))
    assert cost.parameters == kept + biases
    assert dense.parameters == sum(p.numel() for p in model.parameters())
    summary = json.loads(json.dumps(controller.summary()))
    assert summary["macs"] == summary["macs_dense"]
    assert summary["density"] == pytest.approx(0.2, abs=0.005)
    assert summary["refused"]["top.0.bias"] == "is a vector"


def test_events_tell_the_densities_and_how_many_weights_moved() -> None:
    made = make()
    events = [event for step in range(8) for event in learn(made, step)]
    assert [(e.kind, e.trigger) for e in events] == [
        ("mask", "start"),
        ("rewire", "clock"),
        ("rewire", "clock"),
    ]
    first, second = events[:2]
    assert (first.density_before, first.density_after) == (1.0, made[0].density)
    assert second.density_before == second.density_after == made[0].density
    assert (second.rows, second.event_time) == (64, 3000)
    for event in events:
        record = json.loads(json.dumps(event.record(), allow_nan=False))
        assert record["macs_before"] == record["macs_after"] == made[0].dense_cost.macs_inference


def test_calls_without_an_optimizer_step_between_them_are_no_training_steps() -> None:
    made = make(RigL(anneal_steps=9, every=2))
    controller, model, optimizer, batch = made
    kinds = []
    for micro_step in range(8):
        model(*batch(4)).square().mean().backward()
        if micro_step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        kinds += [event.kind for event in controller.step(rows=4)]
    assert kinds == ["mask", "rewire"]


def test_a_tensor_that_takes_no_part_is_left_as_it_is() -> None:
    model = nn.ModuleDict({"used": nn.Linear(6, 8), "idle": nn.Linear(6, 8)})
    model.forward = lambda x: model["used"](x)  # type: ignore[method-assign]
    optimizer = SGD(model.parameters(), 0.1)
    controller = ElementController(
        model,
        optimizer,
        policy=RigL(anneal_steps=9, every=1),
        density=0.5,
        example=torch.randn(2, 6),
    )
    idle = controller.mask("idle.weight")
    model(torch.randn(4, 6)).square().mean().backward()
    optimizer.step()
    (_, event) = controller.step()
    assert set(event.plan["moved"]) == {"used.weight"}
    assert torch.equal(controller.mask("idle.weight"), idle)


def test_a_removed_weight_stays_zero_even_under_a_gradient_that_is_not_finite() -> None:
    made = make(SET(every=100))
    controller, model, optimizer, _ = made
    weight = model.top[0].weight
    removed = ~controller.mask("top.0.weight")
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    weight.grad[removed] = torch.nan
    optimizer.step()
    assert not weight[removed].any()
    assert torch.isfinite(weight).all()


def test_a_removed_weight_that_somebody_sets_is_zero_again_after_the_next_step() -> None:
    made = make(SET(every=100), optimizer="momentum")
    controller, model, optimizer, _ = made
    learn(made, 0)
    weight = model.top[0].weight
    removed = ~controller.mask("top.0.weight")
    with torch.no_grad():  # as dense weights and a dense run's momentum that are loaded
        weight.add_(1.0)
        optimizer.state[weight]["momentum_buffer"].add_(1.0)
    learn(made, 1)
    assert not weight[removed].any()
    assert bool(weight[~removed].any())


def test_weights_that_are_not_finite_are_told_before_anything_moves() -> None:
    made = make(RigL(anneal_steps=99, every=1))
    controller, model, optimizer, _ = made
    learn(made, 0)
    masks = {name: controller.mask(name) for name in masked_params(made)}
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    with torch.no_grad():
        model.top[2].weight.fill_(torch.inf)
    optimizer.step()
    with pytest.raises(RunError, match=r"'top\.2\.weight': weights or gradients are not finite"):
        controller.step()
    assert all(torch.equal(controller.mask(name), mask) for name, mask in masks.items())


def test_what_cannot_be_masked_is_told_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match=r"'top\.9\.weight' is no parameter of SmallDLRM"):
        make(params=["top.9.weight"])
    model, batch = build("mlp")
    bound = SGD(model.layers[0].parameters(), 0.1)
    options: dict[str, Any] = {"policy": SET(), "density": 0.5, "example": batch(2)}
    with pytest.raises(ConfigError, match=r"cannot be masked: it is not trained by the optimizer"):
        ElementController(model, bound, params=["layers.2.weight"], **options)
    biases = SGD([model.layers[0].bias], 0.1)
    with pytest.raises(ConfigError, match=r"nothing to mask: layers.0.weight is not trained"):
        ElementController(model, biases, **options)
    with pytest.raises(ConfigError, match="example: the model MLP cannot be run on it"):
        ElementController(model, bound, **{**options, "example": torch.randn(2, 5)})
    assert model.training
    embedding = nn.Embedding(8, 4, sparse=True)
    bound = SGD(embedding.parameters(), 0.1)
    ElementController(embedding, bound, **{**options, "example": torch.tensor([1, 2])})
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(RunError, match=r"'weight': its gradient is sparse .* sparse=False"):
        bound.step()
    _, model, optimizer, _ = make()
    with pytest.raises(RunError, match="step\\(\\) was given a closure"):
        optimizer.step(lambda: torch.tensor(0.0))


def test_named_vectors_and_tied_weights_are_masked_once() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    model[2].weight = model[0].weight
    optimizer = Adam(model.parameters())
    controller = ElementController(
        model,
        optimizer,
        policy=RigL(anneal_steps=9, every=1),
        density=0.5,
        example=torch.randn(2, 8),
        params=["0.weight", "2.bias"],
    )
    model(torch.randn(4, 8)).square().mean().backward()
    optimizer.step()
    controller.step()
    assert int(model[2].weight.count_nonzero()) <= int(controller.mask("0.weight").sum())
    assert controller.refused == {"0.bias": "is not named"}
    assert int(controller.mask("0.weight").sum()) + int(controller.mask("2.bias").sum()) == 36


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_precision_is_masked(policy: str, dtype: torch.dtype) -> None:
    model, batch = build("mlp")
    model.to(dtype)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    (inputs,) = batch(16)
    inputs = inputs.to(dtype)
    controller = ElementController(
        model, optimizer, policy=POLICIES[policy], density=0.3, example=inputs
    )
    for _ in range(6):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        controller.step()
    weight = model.layers[2].weight
    assert not weight[~controller.mask("layers.2.weight")].any()


def test_a_sparse_model_learns() -> None:
    made = make(POLICIES["rigl"], density=0.2)
    _, model, _, batch = made
    torch.manual_seed(1)
    inputs = batch(256)
    with torch.no_grad():
        before = float((model(*inputs) - 1.0).square().mean())
    for step in range(60):
        learn(made, step)
    with torch.no_grad():
        after = float((model(*inputs) - 1.0).square().mean())
    assert after < 0.5 * before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_model_on_a_gpu_is_rewired_and_resumes_bit_identical(policy: str, fused: bool) -> None:
    def fresh() -> Made:
        model, batch = build("dlrm")
        model.cuda()
        optimizer = Adam(model.parameters(), 1e-2, fused=fused)
        on_gpu: Callable[[int], Any] = lambda rows: tuple(x.cuda() for x in batch(rows))  # noqa: E731
        controller = ElementController(
            model, optimizer, policy=POLICIES[policy], density=0.25, example=on_gpu(4)
        )
        return controller, model, optimizer, on_gpu

    whole = fresh()
    for step in range(6):
        learn(whole, step)
    saved = copy.deepcopy([part.state_dict() for part in whole[:3]])
    for step in range(6, 13):
        learn(whole, step)
    resumed = fresh()
    for part, state in zip(resumed[:3], saved, strict=True):
        part.load_state_dict(state)
    for step in range(6, 13):
        learn(resumed, step)
    wanted, found = outcome(whole), outcome(resumed)
    for key, value in wanted.items():
        assert same(found[key], value), key
    for name, param in masked_params(whole).items():
        assert not param[~whole[0].mask(name)].any()
