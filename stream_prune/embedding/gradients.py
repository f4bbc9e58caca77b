"""Gradients on their way from a backward pass to the one update of their rows."""

from typing import NamedTuple

import torch
from torch import Tensor


class Pooled(NamedTuple):
    """Where vectors [m, D] come from.

    Attributes:
        rows: flat rows [n].
        ends: bounds [m + 1] of the bags in ``rows``; None: a row a vector.
        share: what each row counts in its bag [n]; given together with ``ends``.
        layout: the assignment of rows that this holds for.
        graph: the vectors as a back end computed them, if it wants its own backward pass.
    """

    rows: Tensor
    ends: Tensor | None
    share: Tensor | None
    layout: int
    graph: Tensor | None = None


class Gradient(NamedTuple):
    """The gradient [m, D] of vectors."""

    of: Pooled
    values: Tensor

    def by_row(self) -> tuple[Tensor, Tensor]:
        """Rows and a gradient for each."""
        if self.of.ends is None or self.of.share is None:
            return self.of.rows, self.values
        each = self.values.repeat_interleave(self.of.ends.diff(), 0)
        return self.of.rows, each * self.of.share.unsqueeze(1)


class Gradients:
    """What backward passes left since the last update; true if there is any."""

    def __init__(self) -> None:
        self._waiting: list[Gradient] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def finite(self) -> bool:
        """Whether no value of what waits is infinite or NaN."""
        return all(bool(torch.isfinite(gradient.values).all()) for gradient in self._waiting)

    def watch(self, leaf: Tensor, of: Pooled) -> Tensor:
        """Make ``leaf`` [..., D] require a gradient, and catch it when a backward pass brings it.

        Nothing is kept of a forward pass whose graph is dropped without a backward pass.
        """

        def keep(leaf: Tensor) -> None:
            if leaf.grad is not None:
                values = leaf.grad.reshape(-1, leaf.shape[-1])
                self._waiting.append(Gradient(of, values))
                leaf.grad = None

        leaf.requires_grad_()
        leaf.register_post_accumulate_grad_hook(keep)  # type: ignore[no-untyped-call]
        return leaf

    def take(self, layout: int) -> list[Gradient]:
        """All that waits; nothing waits afterwards.

        Raises:
            RuntimeError: a gradient belongs to an earlier layout; all that waited are dropped.
        """
        waiting, self._waiting = self._waiting, []
        if any(gradient.of.layout != layout for gradient in waiting):
            raise RuntimeError(
                "rows changed hands between a forward pass and step(): "
                "call step() before adapt() and resize()"
            )
        return waiting


def by_row(gradients: list[Gradient]) -> tuple[Tensor, Tensor]:
    """Rows [n] and their gradients [n, D], of all of them."""
    rows, values = zip(*(gradient.by_row() for gradient in gradients), strict=True)
    return (rows[0], values[0]) if len(rows) == 1 else (torch.cat(rows), torch.cat(values))
