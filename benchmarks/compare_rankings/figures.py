"""The figures of the runs."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from record import Figure

from compare_rankings.contenders import DENSE
from compare_rankings.outcome import Outcome


def compared(name: str, outcomes: list[Outcome]) -> list[Figure]:
    """Figures of each density, and how it differs from the dense model."""
    figures = []
    dense = [outcome for outcome in outcomes if outcome.variant == DENSE]
    for variant in dict.fromkeys(outcome.variant for outcome in outcomes):
        here = [outcome for outcome in outcomes if outcome.variant == variant]
        label = f"{name} {variant.name}"
        for metric in ("recall", "ndcg"):
            values = [getattr(outcome.test, metric) for outcome in here]
            spread = f"{min(values):.4f} to {max(values):.4f}" if len(values) > 1 else "one seed"
            title = f"{label}: {'Recall' if metric == 'recall' else 'NDCG'}@20"
            figures.append(Figure(title, float(np.mean(values)), "", note=spread))
            if variant != DENSE:
                figures.append(difference(title, metric, here, dense))
        first = here[0]
        for where in ("inference", "training"):
            run, left = getattr(first.run, where), getattr(first.left, where)
            unit = "MMAC" if where == "training" else "kMAC"
            what = "a step of training" if where == "training" else "ranking for a user"
            scale = 1e-6 if where == "training" else 1e-3
            figures += [
                Figure(f"{label}: products run, {what}", run * scale, unit),
                Figure(
                    f"{label}: products left, {what}", left * scale, unit, note=share(left, run)
                ),
            ]
        figures += [
            Figure(f"{label}: memory while training", first.training_bytes / 1e6, "MB"),
            Figure(f"{label}: on disk", first.disk_bytes / 1e6, "MB"),
            Figure(f"{label}: processor time of a run", first.seconds, "s"),
        ]
    return figures


def difference(title: str, metric: str, here: list[Outcome], dense: list[Outcome]) -> Figure:
    """Relative to the dense model of the same seed, with a 95 % interval over users."""
    each = [
        getattr(one.test, f"{metric}s") - getattr(other.test, f"{metric}s")
        for one, other in zip(here, dense, strict=True)
    ]
    base = float(np.mean([getattr(outcome.test, metric) for outcome in dense]))
    paired = np.mean(each, axis=0) / base
    half = 1.96 * float(paired.std(ddof=1)) / len(paired) ** 0.5
    middle = float(paired.mean())
    note = f"{100 * (middle - half):+.1f} to {100 * (middle + half):+.1f} %"
    return Figure(f"{title} over dense", 100 * middle, "%", note=note)


def share(left: float, run: float) -> str:
    return f"{left / run:.1%} of what is run"


def flat(outcome: Outcome) -> dict[str, object]:
    """As JSON values, with the means of the ranking."""
    left_out = ("variant", "test", "run", "left")
    found = {key: value for key, value in vars(outcome).items() if key not in left_out}
    return found | {
        "variant": outcome.variant.name,
        "recall": outcome.test.recall,
        "ndcg": outcome.test.ndcg,
        "products_run": asdict(outcome.run),
        "products_left": asdict(outcome.left),
    }
