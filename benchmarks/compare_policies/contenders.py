"""What is compared: per policy the changes to a log's configuration.

One setting of each policy serves all logs: whatever is counted in rows, batches or windows is a
share of the stream. Warm-ups last 5 % of it and a descent is over before 12 %, so that the search
for the learning rate, which sees 20 %, judges the small model. Embedding rows are at full capacity
for all.

A policy's option, named POLICY+OPTION, is a row of its own that is made only when it is asked for:
an option that improves no log is not worth its place.
"""

from __future__ import annotations

from typing import Any

from compare_policies.logs import CONFIGS, Stream
from compare_policies.small_dense import small_widths
from stream_prune.cli.config import load

BUDGET = 0.2
"""Share of the full model's MACs; of its weights for policies of elements."""

WARMUP = 0.05
SETTLED = 0.12
"""Share of the stream after which every policy has come down to the budget."""

Changes = dict[str, Any]

COMMON: Changes = {
    "sparsity": None,
    "elements": None,
    "drift": None,
    "control": None,
    "registry": None,
    "device": "cpu",
    "threads": 1,
}


def contenders(stream: Stream) -> dict[str, Changes]:
    """The policies by name, in the order of the tables; options after their policy."""
    rows, batches = stream.log.rows, stream.whole.batches
    window = min(4096, stream.rows(0.01))
    warmup, every = stream.rows(WARMUP), max(1, batches // 100)
    small = _small(stream)
    drift = {
        "detector": "cusum",
        "parameters": {"rising_only": True},
        "slice_rows": 512,
        "cooldown_rows": min(8192, stream.rows(0.02)),
    }

    def units(policy: str, macs: float = BUDGET, **parameters: Any) -> Changes:
        settings = {"policy": policy, "parameters": parameters, "budget": {"macs": macs}}
        return {"sparsity": settings | {"window_rows": window}}

    def on_drift(policy: str, macs: float = BUDGET, **parameters: Any) -> Changes:
        return units(policy, macs, **parameters) | {"drift": drift}

    def elements(policy: str, **parameters: Any) -> Changes:
        parameters = {"every": every, **parameters}
        return {"elements": {"policy": policy, "density": BUDGET, "parameters": parameters}}

    def ads(**others: Any) -> Changes:
        return on_drift("ads", **{"warmup_rows": warmup, **others})

    def shadow(**others: Any) -> Changes:
        clock = stream.rows(0.1)
        return on_drift("ads_shadow", **{"warmup_rows": warmup, "every_rows": clock, **others})

    guarded = ads()
    return {
        "dense": {},
        "small_dense": small,
        "small_dense_on_drift": small
        | on_drift("rate_on_drift", macs=1.0, raised=3.0, raised_rows=8 * window),
        "static": units("static", warmup_rows=warmup),
        "static+steps": units("static", warmup_rows=warmup, shrink_steps=4),
        "ads": ads(),
        "ads+steady": ads(steady=0.01, patience_windows=_windows(stream.rows(0.01), window)),
        "ads+no_severity": ads(severity_full=None),
        "ads+clock": ads(clock_rows=stream.rows(0.1)),
        "ads+guardrail": guarded | {"sparsity": guarded["sparsity"] | {"guardrail": {}}},
        "ads_shadow": shadow(),
        "ads_shadow+distil": shadow(distill_rows=stream.rows(0.02), distill_weight=0.5),
        "amgp": units("amgp", total_rows=rows, warmup_rows=warmup, cycles=4),
        "dsl": elements("dsl", anneal_steps=batches),
        "dsl+erk": elements("dsl", anneal_steps=batches, densities="erk"),
        "dsl+accumulate": elements("dsl", anneal_steps=batches, accumulate=max(1, every // 2)),
        "dsl_units": units("dsl_units", anneal_rows=rows, every_rows=2 * window),
        "rigl": elements("rigl", anneal_steps=3 * batches // 4),
        "set_evolution": elements("set_evolution"),
    }


STANDARD_OPTIONS = ("static+steps", "ads+guardrail", "ads_shadow+distil")
"""Options that are always among what is compared."""


def standard(every: dict[str, Changes]) -> dict[str, Changes]:
    """The policies without the options that nobody has asked for."""
    return {n: c for n, c in every.items() if "+" not in n or n in STANDARD_OPTIONS}


def _windows(rows: int, window: int) -> int:
    return max(1, rows // window)


def _small(stream: Stream) -> Changes:
    model = load(CONFIGS / stream.log.config).training.model
    bottom, top = small_widths(model, stream.spec, BUDGET)
    return {"model": {"bottom": list(bottom), "top": list(top)}}
