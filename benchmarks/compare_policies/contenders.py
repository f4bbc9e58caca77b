"""What is compared: per policy the changes to a log's configuration.

One setting of each policy serves all logs: whatever is counted in rows, batches or windows is a
share of the stream. Warm-ups last 5 % of it and a descent is over before 12 %, so that the search
for the learning rate, which sees 20 %, judges the small model. Embedding rows are at full capacity
for all.
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
    "registry": None,
    "device": "cpu",
    "threads": 1,
}


def contenders(stream: Stream) -> dict[str, Changes]:
    """The policies by name, in the order of the tables."""
    rows, batches = stream.log.rows, stream.whole.batches
    window = min(4096, stream.rows(0.01))
    warmup = stream.rows(WARMUP)
    small = _small(stream)
    drift = {
        "detector": "cusum",
        "parameters": {"rising_only": True},
        "slice_rows": 512,
        "cooldown_rows": min(8192, stream.rows(0.02)),
    }

    def units(policy: str, macs: float = BUDGET, **parameters: Any) -> Changes:
        return {
            "sparsity": {
                "policy": policy,
                "parameters": parameters,
                "budget": {"macs": macs},
                "window_rows": window,
            }
        }

    def elements(policy: str, **parameters: Any) -> Changes:
        parameters = {"every": max(1, batches // 100), **parameters}
        return {"elements": {"policy": policy, "density": BUDGET, "parameters": parameters}}

    ads = units(
        "ads",
        warmup_rows=warmup,
        shrink_steps=4,
        regrow_density=0.4,
        regrow_windows=8,
        regrow_steps=3,
        rate_sparse=2.0,
        rate_grown=2.0,
    )
    return {
        "dense": {},
        "small_dense": small,
        "small_dense_on_drift": small
        | units("rate_on_drift", macs=1.0, raised=3.0, raised_rows=8 * window)
        | {"drift": drift},
        "static": units("static", warmup_rows=warmup, shrink_steps=1, rate_sparse=2.0),
        "ads": ads | {"drift": drift},
        "amgp": units(
            "amgp", total_rows=rows, warmup_rows=warmup, cycles=4, prune_share=0.5, rate_sparse=2.0
        ),
        "dsl": elements("dsl", anneal_steps=batches),
        "dsl_units": units("dsl_units", anneal_rows=rows, every_rows=2 * window),
        "rigl": elements("rigl", anneal_steps=3 * batches // 4),
        "set_evolution": elements("set_evolution"),
    }


def _small(stream: Stream) -> Changes:
    model = load(CONFIGS / stream.log.config).training.model
    bottom, top = small_widths(model, stream.spec, BUDGET)
    return {"model": {"bottom": list(bottom), "top": list(top)}}
