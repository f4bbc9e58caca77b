"""The guardrail under torch.compile: the frozen copy is scored outside of the compiled graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from test_controller import Stream, make
from test_guardrail import GUARDRAIL, ONCE, kinds, learn
from torch import nn


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_a_model_compiled_in_place_is_compared_like_an_eager_one() -> None:
    last = []
    for compiled in (False, True):
        controller, model, optimizer = make(ONCE, guardrail=GUARDRAIL)
        assert isinstance(model, nn.Module)
        if compiled:
            model.compile(backend="eager")
        events = learn(controller, model, optimizer, Stream(), 60)
        assert kinds(events) == [("shrink", "warm-up"), ("guardrail", "passed")]
        last.append(events[-1].measured)
    assert last[0] == pytest.approx(last[1], rel=1e-3)
