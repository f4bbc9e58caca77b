"""Gradients on their way from a backward pass to the one update of their rows."""

from typing import NamedTuple

import torch
from torch import Tensor


class _Gradient(NamedTuple):
    """The gradient [n, D] of n vectors, and the rows that they were read from.

    ``layout`` tells which assignment of rows that was; ``ends`` [n + 1] bounds bags of rows.
    """

    rows: Tensor
    ends: Tensor | None
    layout: int
    values: Tensor

    def by_row(self) -> tuple[Tensor, Tensor]:
        """Rows and a gradient for each; a bag's is shared equally by its members."""
        if self.ends is None:
            return self.rows, self.values
        sizes = self.ends.diff()
        shares = self.values / sizes.unsqueeze(1)
        return self.rows, shares.repeat_interleave(sizes, 0)


class Gradients:
    """What backward passes left since the last update; true if there is any."""

    def __init__(self) -> None:
        self._waiting: list[_Gradient] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def watch(self, leaf: Tensor, rows: Tensor, ends: Tensor | None, layout: int) -> Tensor:
        """Make ``leaf`` [..., D] require a gradient, and catch it when a backward pass brings it.

        Nothing is kept of a forward pass whose graph is dropped without a backward pass.
        """

        def keep(leaf: Tensor) -> None:
            if leaf.grad is not None:
                values = leaf.grad.reshape(-1, leaf.shape[-1])
                self._waiting.append(_Gradient(rows, ends, layout, values))
                leaf.grad = None

        leaf.requires_grad_()
        leaf.register_post_accumulate_grad_hook(keep)  # type: ignore[no-untyped-call]
        return leaf

    def take(self, layout: int) -> tuple[Tensor, Tensor]:
        """Rows [n] and their gradients [n, D], of all that waits; nothing waits afterwards.

        Raises:
            RuntimeError: a gradient belongs to an earlier layout; all that waited are dropped.
        """
        waiting, self._waiting = self._waiting, []
        if any(gradient.layout != layout for gradient in waiting):
            raise RuntimeError(
                "rows changed hands between a forward pass and step(): "
                "call step() before adapt() and resize()"
            )
        rows, values = zip(*(gradient.by_row() for gradient in waiting), strict=True)
        return (rows[0], values[0]) if len(rows) == 1 else (torch.cat(rows), torch.cat(values))
