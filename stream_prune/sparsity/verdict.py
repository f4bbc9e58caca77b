"""The verdict on a re-adjustment: how its comparison with the model before it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream_prune.sparsity.guardrail import Guardrail
from stream_prune.sparsity.paired import PairedBlocks


class Verdict(NamedTuple):
    """How a comparison ended.

    Attributes:
        trigger: "passed", "worse", "drift" (an alarm) or "unlabelled" (too few labels).
        measured: for the record.
    """

    trigger: str
    measured: Mapping[str, float]

    @property
    def worse(self) -> bool:
        """The re-adjustment is to be taken back."""
        return self.trigger == "worse"


def judge(blocks: PairedBlocks, settings: Guardrail, spent: float, *, alarm: bool) -> Verdict:
    """What the losses on the same rows say of the live model beside the one before it.

    Args:
        blocks: the losses of both.
        settings: what is tolerated.
        spent: share of the logloss that earlier steps of the same descent have cost.
        alarm: a drift was signalled, so the losses move for another reason.
    """
    compared = blocks.compare()
    cost = spent + max(0.0, compared.relative)  # gains do not count
    measured = {
        "rows": compared.rows,
        "logloss": compared.live,
        "logloss_before": compared.other,
        "difference": compared.difference,
        "error": compared.error,
        "descent": cost,
    }
    if alarm:
        return Verdict("drift", measured)
    if not blocks.ready:
        return Verdict("unlabelled", measured)
    harmful = compared.worse(settings.significance, 0.0)
    return Verdict("worse" if harmful and cost > settings.tolerance else "passed", measured)
