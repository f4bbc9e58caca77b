"""Where the vectors of all tables lie, and what updates them: the flat tensor, or FBGEMM's."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from stream_prune.embedding.adagrad import RowwiseAdagrad
from stream_prune.embedding.config import BACK_ENDS
from stream_prune.embedding.gather import gather
from stream_prune.embedding.gradients import Gradient, Pooled, by_row


class BackEnd(Protocol):
    """Storage of V vectors of one width, with one accumulator each.

    Attributes:
        name: as configurations and messages have it.
        description: the same for people, with what runs it.
    """

    name: str

    @property
    def description(self) -> str: ...

    def allocate(self, rows: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """A weight [V, D] and an accumulator [V] of zeros, which the caller may write to."""
        ...

    def pool(self, weight: Tensor, pooled: Pooled, lr: float) -> tuple[Tensor, Pooled]:
        """The vectors [m, D], and what :meth:`step`, at this rate, will want to know of them."""
        ...

    def step(
        self, weight: Tensor, accumulator: Tensor, gradients: list[Gradient], lr: float
    ) -> None:
        """One update with the sum of these gradients."""
        ...


class Flat:
    """One tensor, with compiled look-ups and updates on the CPU and torch's own elsewhere."""

    name = "flat"

    def __init__(self, eps: float) -> None:
        self._optimizer = RowwiseAdagrad(eps)

    @property
    def description(self) -> str:
        return f"flat (torch {torch.__version__}, row-wise Adagrad)"

    def allocate(self, rows: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        return torch.zeros(rows, dim, device=device), torch.zeros(rows, device=device)

    def pool(self, weight: Tensor, pooled: Pooled, lr: float) -> tuple[Tensor, Pooled]:
        del lr
        if pooled.ends is None:
            return gather(weight, pooled.rows), pooled
        values = F.embedding_bag(
            pooled.rows,
            weight,
            pooled.ends,
            mode="sum",
            per_sample_weights=pooled.share,
            include_last_offset=True,
        )
        return values, pooled

    def step(
        self, weight: Tensor, accumulator: Tensor, gradients: list[Gradient], lr: float
    ) -> None:
        rows, values = by_row(gradients)
        self._optimizer.step(weight, accumulator, rows, values, lr)


def back_end(name: str, eps: float) -> BackEnd:
    """The back end of this name.

    Raises:
        ValueError: no such back end.
        ConfigError: FBGEMM is asked for and cannot be loaded, with the reason.
    """
    if name == "flat":
        return Flat(eps)
    if name == "fbgemm":
        from stream_prune.embedding.fbgemm import Fbgemm

        return Fbgemm(eps)
    raise ValueError(f"backend = {name!r}: must be one of {', '.join(BACK_ENDS)}")
