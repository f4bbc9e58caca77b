"""Do the intervals of fitted scaling laws hold the truth as often as they say?

    python benchmarks/scaling.py [--quick] [--json FILE]

1,000 draws (``--quick``: 100) of losses around a known law, ten sizes over three decades with three
seeds each, at a noise of .2 % of the loss, about what seeds differ by in this project. Each draw is
fitted as ``stream-prune fit-scaling`` does; counted is how often the 95 % interval of each of a, b
and c holds the truth, and the median width of the intervals beside the one that Fisher's
information promises at best. The extrapolation to four times the largest size is tested too, and
that a law is refused where the losses do not hang on the size, at three numbers of points.
"""

from __future__ import annotations

import sys

import numpy as np
from record import Figure, finish, parser

from stream_prune.scaling.power_law import PowerLaw
from stream_prune.scaling.study import LEVEL, fisher_interval, study

TRUE = PowerLaw(1.2, 0.35, 0.55)
SIZES = np.geomspace(10, 10_000, 10)
SEEDS = 3
NOISES = (0.002,)


def main() -> int:
    options = parser(__doc__.splitlines()[0]).parse_args()
    draws = 100 if options.quick else 1_000
    x = np.repeat(SIZES, SEEDS)
    figures: list[Figure] = []
    for noise in NOISES:
        inside, widths = np.zeros(3), []
        beyond = refused = 0
        for draw in range(draws):
            rng = np.random.default_rng([draw, round(1e6 * noise)])
            found = study(x, TRUE.curve(x) * np.exp(noise * rng.standard_normal(len(x))), seed=draw)
            intervals = np.array([found.interval(name) for name in "abc"])
            true = np.array([TRUE.a, TRUE.b, TRUE.c])
            inside += (intervals[:, 0] <= true) & (true <= intervals[:, 1])
            widths.append((intervals[:, 1] - intervals[:, 0]) / 2)
            refused += bool(found.refusal)
            far = 4 * x.max()
            low, high = found.band(np.array([far]))
            beyond += bool(low[0] <= TRUE.at(far) <= high[0])
        best = fisher_interval(TRUE, x, noise)
        told_noise = f"noise {100 * noise:g} %"
        for name, share, width in zip(
            "abc", inside / draws, np.median(widths, axis=0), strict=True
        ):
            told = f"{name}, {told_noise}"
            figures += [
                Figure(f"interval holds the truth: {told}", 100 * float(share), "%", "92 to 98",
                       bool(0.92 <= share <= 0.98)),
                Figure(f"median half width over Fisher's: {told}", float(width) / best[name], "x"),
            ]  # fmt: skip
        figures += [
            Figure(f"band holds the truth at 4 x, {told_noise}", 100 * beyond / draws, "%"),
            Figure(f"refused though true, {told_noise}", 100 * refused / draws, "%"),
        ]  # fmt: skip
        print(f"noise {100 * noise:g} %: done", flush=True)
    figures += [constant(points, seeds, draws) for points, seeds in ((10, 3), (10, 1), (6, 2))]
    finish(figures, options.json, draws=draws, law=vars(TRUE), sizes=SIZES.tolist(), seeds=SEEDS)
    return 0


def constant(points: int, seeds: int, draws: int) -> Figure:
    """How often a law is refused that is not there."""
    refused = 0
    x = np.repeat(np.geomspace(SIZES.min(), SIZES.max(), points), seeds)
    for draw in range(draws):
        noise = np.random.default_rng([draw, 7, len(x)]).standard_normal(len(x))
        refused += bool(study(x, 0.9 * np.exp(0.002 * noise), seed=draw).refusal)
    share, wanted = refused / draws, 1 - LEVEL
    name = f"refused where size does not matter: {points} sizes, {seeds} seeds"
    return Figure(name, 100 * share, "%", f">= {100 * wanted:g}", share >= wanted)


if __name__ == "__main__":
    sys.exit(main())
