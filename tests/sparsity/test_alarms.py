"""An alarm is answered, whatever stands in its way at the moment."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from test_controller import Stream, make
from test_guardrail import kinds, learn
from torch.optim import Adam

from stream_prune.errors import RunError
from stream_prune.sparsity import ADS, Guardrail
from stream_prune.sparsity.policies.policy import Decision, Keep, Observation, Shrink
from stream_prune.stateful import State


class Told(NamedTuple):
    alarm: bool
    severity: float
    value: float


class Siren:
    """A drift monitor that gives an alarm when it is told to."""

    def __init__(self) -> None:
        self.now = False

    def observe(self, labels: Any, scores: Any) -> Told:
        alarm, self.now = self.now, False
        return Told(alarm, 5.0 * alarm, 1.0)

    def observe_loss(self, loss: float, rows: int) -> Told:
        return self.observe(None, None)

    def reset(self) -> None: ...

    def state_dict(self) -> State:
        return {"now": int(self.now)}

    def load_state_dict(self, state: State) -> None:
        self.now = bool(state["now"])


class Asked(NamedTuple):
    times: int


class Listener:
    """A policy that prunes when it is first asked, and remembers what it was asked."""

    rows_from_start = starts_sparse = False

    def __init__(self) -> None:
        self.heard: list[Observation] = []

    def initial(self, budget: float) -> Asked:
        return Asked(0)

    def wants_scores(self, state: Asked, window_rows: int) -> bool:
        return state.times == 0

    def step(self, state: Asked, observation: Observation) -> tuple[Asked, Decision]:
        self.heard.append(observation)
        shrink = Shrink(observation.budget, "warm-up", settles=True)
        return Asked(state.times + 1), Keep() if state.times else shrink

    def rate(self, state: Asked) -> float:
        return 1.0


def test_an_alarm_while_the_guardrail_waits_is_answered_when_it_has_waited() -> None:
    policy, siren = Listener(), Siren()

    def fresh() -> Any:
        return make(policy, drift=siren, guardrail=Guardrail(windows=2, wait_windows=3))

    controller, model, optimizer = fresh()
    stream = Stream()
    found = kinds(learn(controller, model, optimizer, stream, 12, ruin=True))
    assert found == [("shrink", "warm-up"), ("revert", "worse")]
    siren.now = True
    assert kinds(learn(controller, model, optimizer, stream, 1)) == [("drift", "detector")]
    assert [seen.alarm for seen in policy.heard] == [False]
    states = copy.deepcopy([part.state_dict() for part in (controller, model, optimizer)])
    resumed = fresh()
    for part, state in zip(resumed, states, strict=True):
        part.load_state_dict(state)
    for each in ((controller, model, optimizer), resumed):
        del policy.heard[1:]
        learn(*each, copy.deepcopy(stream), 11)  # three windows of four batches, less one
        assert len(policy.heard) == 1
        learn(*each, copy.deepcopy(stream), 1)
        assert [(seen.alarm, seen.severity) for seen in policy.heard[1:]] == [(True, 5.0)]
        learn(*each, copy.deepcopy(stream), 40)
        assert not any(seen.alarm for seen in policy.heard[2:])


def test_an_alarm_is_answered_by_the_next_call_where_the_resize_was_refused() -> None:
    siren = Siren()
    policy = ADS(warmup_rows=200, shrink_steps=1, settle_windows=0, regrow_density=1.0)
    controller, model, optimizer = make(policy, drift=siren, optimizer=Adam)
    stream = Stream()
    assert kinds(learn(controller, model, optimizer, stream, 10)) == [("shrink", "warm-up")]
    dense, emb, labels = stream.batch()
    held = model(dense, emb)  # a graph that nobody runs backward
    siren.now = True
    with pytest.raises(RunError, match="held by an autograd graph"):
        controller.step(labels=labels, scores=torch.sigmoid(held.detach()))
    del held
    events = learn(controller, model, optimizer, stream, 1)
    assert kinds(events) == [("grow", "drift")]
    assert events[0].severity == 5.0
