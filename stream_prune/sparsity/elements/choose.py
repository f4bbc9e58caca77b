"""Which parameters are masked."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError


def choose(
    model: nn.Module, optimizer: Optimizer, params: Collection[str] | None
) -> tuple[dict[str, nn.Parameter], dict[str, str]]:
    """The parameters to mask, and why each of the others stays dense; both by name.

    Args:
        model: a tied parameter counts once, under its first name.
        optimizer: only what it trains can be masked.
        params: names of the parameters to mask; None: every matrix (two axes or more).

    Raises:
        ConfigError: a name that is no parameter or cannot be masked, or nothing is left to mask.
    """
    every = dict(model.named_parameters())
    trained = {id(param) for group in optimizer.param_groups for param in group["params"]}
    for name in params or ():
        if name not in every:
            raise ConfigError(
                f"params: {name!r} is no parameter of {type(model).__name__}; there are "
                f"{', '.join(every)}"
            )
    chosen: dict[str, nn.Parameter] = {}
    refused: dict[str, str] = {}
    for name, param in every.items():
        if not param.is_floating_point() or param.dim() == 0:
            reason = "is no tensor of floating-point weights"
        elif id(param) not in trained:
            reason = "is not trained by the optimizer"
        elif params is None and param.dim() < 2:
            reason = "is a vector"
        elif params is not None and name not in params:
            reason = "is not named"
        else:
            chosen[name] = param
            continue
        if params is not None and name in params:
            raise ConfigError(f"params: {name!r} cannot be masked: it {reason}")
        refused[name] = reason
    if not chosen:
        raise ConfigError(
            f"params: {type(model).__name__} has nothing to mask: "
            + "; ".join(f"{name} {reason}" for name, reason in refused.items())
        )
    return chosen, refused
