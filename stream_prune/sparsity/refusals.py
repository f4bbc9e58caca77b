"""Why a layer stays dense, in words for whoever built the model."""

from __future__ import annotations

from torch import nn


class RefusedError(Exception):
    """Why a group cannot be pruned."""


def why_opaque(name: str, module: nn.Module) -> str:
    """Why units that a layer reads in a way of its own cannot be removed."""
    kind = type(module).__name__
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return f"{kind} {name!r} reads its units, and a recurrent layer stays as wide as it is"
    if isinstance(module, nn.MultiheadAttention):
        return f"{kind} {name!r} reads its units, and is as wide as all of its heads"
    return f"{kind} {name!r} mixes its units"


def why_dense(module: nn.Module) -> str | None:
    """Why a module that has units of its own is not looked into; None of one that is."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return "a recurrent layer reads its own units again at the next step"
    if isinstance(module, nn.MultiheadAttention):
        return (
            "torch's MultiheadAttention runs only with heads that together are as wide as its "
            "input; attention written with Linear layers is pruned by heads"
        )
    if isinstance(module, nn.Bilinear):
        return "a bilinear layer multiplies its units with one another"
    return None
