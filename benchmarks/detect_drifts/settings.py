"""What is tried of every detector; the best on the logs for choosing is judged on the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stream_prune.drift import (
    Adwin,
    Cusum,
    Ddm,
    Detector,
    Eddm,
    HddmA,
    HddmW,
    Kswin,
    Mewma,
    PageHinkley,
    Vote,
)

LABEL_FREE = ("dense", "ids", "scores")


@dataclass(frozen=True)
class Setting:
    """A detector as it is tried.

    Attributes:
        name: of the detector, or of the label-free statistic that a CUSUM watches.
        slice_rows: rows of a slice.
        parameters: of the detector.
    """

    name: str
    slice_rows: int
    parameters: dict[str, Any]

    @property
    def watches(self) -> str:
        """``loss``, ``excess``, ``residuals``, or a label-free statistic."""
        if self.name in LABEL_FREE or self.name == "residuals":
            return self.name
        return "excess" if self.name == "cusum_excess" else "loss"

    def make(self) -> Detector | Mewma:
        """A new detector."""
        return MAKERS.get(self.name, _rising)(**self.parameters)


def settings(quick: bool) -> dict[str, list[Setting]]:
    """All settings by the detector's name."""
    slices = (256,) if quick else (128, 256, 512)
    found = [
        *_grid("cusum", slices, k=(0.25, 0.5), h=(8.0, 12.0, 16.0, 20.0)),
        *_grid(
            "cusum_memory",
            slices[:2],
            k=(0.1, 0.25),
            h=(12.0, 16.0, 20.0, 28.0),
            memory=(96, 192, 384),
        ),
        *_grid("cusum_mixture", slices[:2], bound=(6.0, 8.0, 10.0, 12.0), memory=(192, 384)),
        *_grid("cusum_excess", slices[:2], k=(0.1, 0.25), h=(8.0, 12.0, 16.0), memory=(192, 384)),
        *_grid("residuals", (128,), alpha=(1e-4, 1e-5, 2e-6, 2e-7), slowest=(16.0, 32.0, 64.0)),
        *_grid("adwin", slices, scale=(5.0, 20.0), delta=(1e-3, 0.02, 0.3)),
        *_grid("page_hinkley", slices, delta=(0.1, 0.3, 0.6), threshold=(8.0, 16.0, 32.0)),
        *_grid("kswin", slices[-1:], alpha=(1e-4, 1e-5, 1e-6), recent=(12, 24)),
        *_grid("ddm", slices, threshold=(4.0, 6.0, 8.0, 10.0)),
        *_grid("eddm", slices, beta=(0.1, 0.2, 0.3, 0.5)),
        *_grid("hddm_a", slices, delta=(1e-4, 1e-6, 1e-8, 1e-11)),
        *_grid("hddm_w", slices, delta=(1e-3, 1e-5, 1e-7), weight=(0.05, 0.1)),
        *_grid("vote", slices, h=(4.0, 6.0, 8.0), delta=(1e-3, 1e-5), within=(8, 16)),
    ]
    for name in LABEL_FREE:
        found += _grid(name, (512,), k=(0.25, 0.5, 1.0), h=(8.0, 12.0, 20.0, 40.0, 80.0))
    return {name: list(each) for name, each in itertools.groupby(found, lambda each: each.name)}


def _grid(name: str, slices: tuple[int, ...], **grid: tuple[float, ...]) -> list[Setting]:
    return [
        Setting(name, slice_rows, dict(zip(grid, values, strict=True)))
        for slice_rows, *values in itertools.product(slices, *grid.values())
    ]


def _rising(k: float, h: float, memory: int | None = None) -> Detector:
    return Cusum(k=k, h=h, rising_only=True, memory=memory)


def _mixture(bound: float, memory: int) -> Detector:
    """CUSUMs for shifts of .2 to 2 deviations, the first of which to alarm does so for all.

    By Wald's approximation, ``k h`` decides how rarely each alarms where nothing moves.
    """
    voters = [_rising(k, bound / (2 * k), memory) for k in (0.1, 0.25, 0.5, 1.0)]
    return Vote(voters, need=1, within=1)


def _residuals(alpha: float, slowest: float) -> Mewma:
    """One weight, or a slow and a four times quicker one where the slow one is below 1/16."""
    weights = (1 / slowest,) if slowest <= 16 else (4 / slowest, 1 / slowest)
    return Mewma(alpha, weights)


def _vote(h: float, delta: float, within: int) -> Detector:
    """The CUSUM, Page-Hinkley and HDDM_A, two of which must agree."""
    voters = [_rising(0.25, h), PageHinkley(threshold=2 * h), HddmA(delta)]
    return Vote(voters, need=2, within=within)


MAKERS: Mapping[str, Callable[..., Detector | Mewma]] = {
    "cusum": _rising,
    "cusum_excess": _rising,
    "cusum_memory": _rising,
    "cusum_mixture": _mixture,
    "residuals": _residuals,
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "ddm": Ddm,
    "eddm": Eddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
    "vote": _vote,
}
