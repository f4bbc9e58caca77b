"""What a run tells about its model: at the start, at a moment, at the end."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Any, TypeAlias

import torch

from stream_prune.features import FeatureSpec
from stream_prune.sparsity.cost import Cost
from stream_prune.training.config import TrainingConfig
from stream_prune.training.learner import Learner

Figures: TypeAlias = dict[str, Any]


def start(config: TrainingConfig, spec: FeatureSpec, learner: Learner) -> Figures:
    """What is trained, on what, where, and what it costs at full size."""
    return {
        "config": config.to_dict(),
        "features": spec.to_dict(),
        "fingerprint": spec.fingerprint,
        "device": learner.device.type,
        "tables": {"backend": learner.tables.backend, "storage": learner.tables.storage},
        **_dense(learner),
        "refused": {} if learner.controller is None else dict(learner.controller.refused),
        **({} if learner.companion is None else {"companion": learner.companion.figures()}),
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def now(learner: Learner, cost: Cost) -> Figures:
    """Size and state of the model at this moment; ``cost`` is its cost per example."""
    tables = learner.tables.tables.values()
    controller = learner.controller
    return {
        **cost._asdict(),
        "rows_used": {table.name: table.rows_used for table in tables},
        "rows_capacity": {table.name: table.capacity for table in tables},
        "rate": learner.caution * (1.0 if controller is None else controller.rate),
    }


def end(learner: Learner, cost: Cost) -> Figures:
    """The model at the end beside the dense one."""
    tables = learner.tables
    rows = sum((table.capacity + 1) * table.dim for table in tables.tables.values())
    return {
        **now(learner, cost),
        **_dense(learner),
        "embedding_parameters": rows + sum(p.numel() for p in tables.parameters()),
        "device": learner.device.type,
        "memory_bytes": memory(learner),
        **held(learner),
        **compared(learner),
    }


def held(learner: Learner) -> Figures:
    """Whether the units' plan holds the budget, and what the guardrail did; else nothing."""
    told = {} if learner.controller is None else learner.controller.summary()
    return {name: told[name] for name in ("budget", "guardrail") if name in told}


def compared(learner: Learner) -> Figures:
    """The verdict on the deployed model beside its companion; nothing without one."""
    companion, controller = learner.companion, learner.controller
    if companion is None or controller is None:
        return {}
    found = dict(controller.summary()["reference"])
    words = str(found.pop("verdict")).replace("the reference", companion.name)
    figures = companion.figures()
    if figures.get("failed"):
        words = f"{companion.name} was {figures['failed']}; until then: {words}"
    return {"reference": {**figures, **found, "verdict": words}}


LOOKUP_PRODUCTS = 3
"""Passes over a row in a training step, as dense layers have them: read, gradient, update."""


def with_lookups(learner: Learner, figures: Figures) -> Figures:
    """The mean MACs with the embedding look-ups: D for every id read, thrice that for one learned.

    A look-up is the product of a one-hot vector and its table; of that product only the row is
    computed. Narrow rows are counted at the full D, and their projections besides.
    """
    told: Figures = {}
    per_lookup = {"inference": learner.tables.dim, "training": LOOKUP_PRODUCTS * learner.tables.dim}
    for use, products in per_lookup.items():
        macs, lookups = figures[f"mean_macs_{use}"], figures["mean_lookups"]
        projected = sum(p.numel() for p in learner.tables.parameters())
        projected *= 1 if use == "inference" else LOOKUP_PRODUCTS
        total = None if macs is None else macs + products * lookups + projected
        told[f"mean_macs_{use}_with_lookups"] = total
    return told


def memory(learner: Learner) -> Figures:
    """Bytes that the model takes: the dense part, its optimizer's state, rows with their ids."""
    state = [value for each in learner.optimizer.state.values() for value in each.values()]
    return {
        "dense": _bytes(learner.head.parameters()),
        "optimizer": _bytes(value for value in state if isinstance(value, torch.Tensor)),
        "rows": learner.tables.nbytes,
    }


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _dense(learner: Learner) -> Figures:
    cost = {f"dense_{name}": value for name, value in learner.dense_cost._asdict().items()}
    return {**cost, "dense_rows": dict(learner.full_rows)}
