"""The figures of one size of the tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from record import Figure

from compare_throughput.turns import Rates

EQUAL = 0.001
"""Loglosses on 32,768 rows that differ by less are called equal (about two standard errors)."""

FUXICTR, DEEPCTR = "FuxiCTR DLRM", "DeepCTR-Torch DeepFM"
OWN = "own DLRM"
NARROW = "own DLRM, 20 % width"
HALF, NARROW_HALF = f"{OWN}, bfloat16", f"{NARROW}, bfloat16"
LIMITS = {OWN: "limit", NARROW: "limit, 20 % width"}
LOOP_LIMITS = {name: f"{limit}, compiled dot products" for name, limit in LIMITS.items()}


def rates(size: str, found: Rates, losses: Mapping[str, float]) -> list[Figure]:
    """Everybody's speed, with the range over the turns, and logloss after the same examples."""
    told = []
    for name, rate in found.items():
        low, high = np.quantile(rate, (0.1, 0.9)) / 1e3
        note = f"{low:.1f} to {high:.1f}"
        told.append(Figure(f"{size}: {name}", float(np.median(rate)) / 1e3, "k ex/s", note=note))
        if name in losses:
            told.append(Figure(f"{size}: {name}: logloss", losses[name], ""))
    return told


def over(size: str, found: Rates, name: str, base: str, wanted: float | None) -> list[Figure]:
    """How many times as fast, turn by turn; nothing where one of both was not run."""
    if name not in found or base not in found:
        return []
    ratio = float(np.median(found[name] / found[base]))
    text = "" if wanted is None else f">= {wanted:g}"
    holds = None if wanted is None else ratio >= wanted
    return [Figure(f"{size}: {name} over {base}", ratio, "x", text, holds)]


def equal_or_better(size: str, losses: Mapping[str, float], name: str) -> list[Figure]:
    """Logloss above FuxiCTR's."""
    if FUXICTR not in losses or name not in losses:
        return []
    above = losses[name] - losses[FUXICTR]
    title = f"{size}: {name}: logloss above FuxiCTR's"
    return [Figure(title, above, "", f"<= {EQUAL}", above <= EQUAL)]
