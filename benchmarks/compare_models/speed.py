"""How fast each model learns, at full width and pruned to the budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from click_dlrm import Step, take_turns
from compare_policies.contenders import BUDGET, COMMON
from compare_policies.logs import CONFIGS, Stream

from compare_models.heads import MODELS, VARIANTS, label
from stream_prune.cli.config import load
from stream_prune.minibatch.batch import MiniBatch
from stream_prune.minibatch.folder_log import FolderLog
from stream_prune.minibatch.reader import windows
from stream_prune.training.build import build
from stream_prune.training.learner import Learner

BATCHES = 20
PRUNED = {
    "policy": "static",
    "parameters": {"warmup_rows": 0},
    "budget": {"macs": BUDGET},
    "window_rows": 256,
}


def examples_per_s(stream: Stream, names: tuple[str, ...], rounds: int) -> dict[str, float]:
    """Examples of the log that a training step learns per second of one core, embeddings included.

    All models take turns on the same batches; medians. Scoring, reading and evaluation are not in
    it, nor is the controller.

    Args:
        stream: a log that has been written.
        names: of the models.
        rounds: through the batches.
    """
    torch.set_num_threads(1)
    found = batches(stream)
    learners = {
        label(name, variant): _learner(stream, name, variant, found)
        for name in names
        for variant in VARIANTS
    }
    steps: Mapping[str, Step] = {name: made.learn for name, made in learners.items()}
    rows = np.array([batch.rows for batch in found])
    times = take_turns(steps, found, rounds)
    return {name: float(np.median(rows / taken)) for name, taken in times.items()}


def batches(stream: Stream) -> list[MiniBatch]:
    """The largest mini-batches of the first fifth, their labelled rows."""
    log = FolderLog.open(stream.first.folder)
    every = [(name, ref) for window in windows(log) for name, ref in window.batches]
    largest = sorted(every, key=lambda batch: -batch[1].rows)[:BATCHES]
    read = (log.read(name, ref, log.spec) for name, ref in largest)
    return [batch.take(batch.labelled) for batch in read]


def _learner(stream: Stream, name: str, variant: str, found: list[MiniBatch]) -> Learner:
    changes = {**COMMON, "model": MODELS[name], "run": "none", "log": str(Path("none"))}
    if variant == "ads":
        changes["sparsity"] = PRUNED
    text = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    made = build(load(CONFIGS / stream.log.config, text).training, stream.spec)
    full = made.dense_cost.macs_inference
    for batch in found if variant == "ads" else ():
        made.learn(batch)
        made.regulate(batch, np.full(batch.rows, 0.5, np.float32))
    if variant == "ads" and made.cost.macs_inference > 1.02 * BUDGET * full:
        raise SystemExit(f"{stream.log.name}, {name}: was not pruned to the budget")
    return made
