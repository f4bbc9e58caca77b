"""What a training run is told of the control: a small dense model trained beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream_prune.training.ranges import at_least, positive


@dataclass(frozen=True)
class ControlConfig:
    """A small dense model of the budget's size, trained beside the deployed one for comparison.

    Attributes:
        lr: learning rate of its dense part. Give it its own best: a small model wants a higher one
            than a full one.
        rows_lr: learning rate of its embedding rows; None: the deployed model's.
        bottom, top: hidden widths of its two MLPs; None: the full model's, scaled down so that
            their MACs meet the budget.
        parameters: the model's own settings; None: the full model's, whose sizes (such as the
            rank of dcn) are then not scaled down.
    """

    lr: float
    rows_lr: float | None = None
    bottom: tuple[int, ...] | None = None
    top: tuple[int, ...] | None = None
    parameters: Mapping[str, Any] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        positive(lr=self.lr, rows_lr=self.rows_lr)
        for name in ("bottom", "top"):
            widths = getattr(self, name) or ()
            at_least(1, **{f"{name}[{i}]": width for i, width in enumerate(widths)})
