"""Models under torch.compile: resized like any other, and compiled anew for new shapes."""

from __future__ import annotations

import sys

import torch
from torch import nn

_MODES = 2  # graphs that a plan needs: with gradients, and without


def plain(model: nn.Module) -> nn.Module:
    """The module inside of what ``torch.compile`` has returned; any other module as it is."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def is_compiled(model: nn.Module) -> bool:
    """Whether ``torch.compile(model)`` was given, or ``model.compile()`` was called."""
    return plain(model) is not model or model._compiled_call_impl is not None


def make_room() -> bool:
    """Forget compiled graphs if there is no room for those of another plan.

    Dynamo keeps ``torch._dynamo.config.recompile_limit`` (8) graphs of a function, and runs it
    without compiling from then on. Graphs of plans seen before are used again until the limit is
    near; then all are forgotten, those of other models too, and compiled anew when they are called.

    Returns:
        Whether they were forgotten.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is None:
        return False
    entries = dynamo.eval_frame._debug_get_cache_entry_list
    codes = [reference() for reference in dynamo.convert_frame.input_codes.seen]
    fullest = max((len(entries(code)) for code in codes if code is not None), default=0)
    if fullest + _MODES <= dynamo.config.recompile_limit:
        return False
    torch.compiler.reset()
    return True
