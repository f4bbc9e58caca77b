"""What a training run is told of the control: a small dense model trained beside."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    lr: float
    rows_lr: float | None = None
    bottom: tuple[int, ...] | None = None
    top: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        positive(lr=self.lr, rows_lr=self.rows_lr)
        for name in ("bottom", "top"):
            widths = getattr(self, name) or ()
            at_least(1, **{f"{name}[{i}]": width for i, width in enumerate(widths)})
