"""What the model alone costs: encoded rows to probabilities, both models in turns."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
from record import Figure

from serve_models.artifacts import eager, raw
from stream_prune.artifact import Scorer, read_manifest
from stream_prune.training.learner import Learner


def size(dense: Path, pruned: Path) -> list[Figure]:
    """Bytes of the artifacts, all files but the manifest."""
    whole, small = read_manifest(dense).size, read_manifest(pruned).size
    gain = whole / small
    return [
        Figure("artifact, dense, float32", whole / 1e6, "MB"),
        Figure("artifact, 20 % MACs, 20 % rows, int8", small / 1e6, "MB"),
        Figure("artifact, dense over pruned", gain, "x", ">= 9", gain >= 9),
    ]


def speed(made: Learner, dense: Path, pruned: Path, rounds: int) -> list[Figure]:
    """Batch 1 and batch 512: PyTorch eager with the dense model against the pruned artifact."""
    made.head.eval()
    small, whole = Scorer.load(pruned), Scorer.load(dense)
    found = []
    for batch, wanted in ((1, 5.0), (512, 3.0)):
        examples = [small.encode(raw(batch, seed=at)) for at in range(16)]
        steps = {
            "PyTorch eager, dense": partial(eager, made),
            "artifact, dense": whole.scores_of,
            "artifact, pruned": small.scores_of,
        }
        taken = {name: np.empty((rounds, len(examples))) for name in steps}
        # In turns of some calls each: a served model has the processor's caches for itself.
        for turn in range(-1, rounds):
            for name, step in steps.items():
                for at, example in enumerate(examples):
                    begun = time.process_time()
                    step(example)
                    if turn >= 0:
                        taken[name][turn, at] = time.process_time() - begun
        for name in steps:
            microseconds = 1e6 * float(np.median(taken[name]))
            found.append(Figure(f"model time, batch {batch}, {name}", microseconds, "us"))
        gain = float(np.median(taken["PyTorch eager, dense"] / taken["artifact, pruned"]))
        what = "model time" if batch == 1 else "throughput"
        label = f"batch-{batch} {what}, pruned artifact against PyTorch eager dense"
        found.append(Figure(label, gain, "x", f">= {wanted:g}", gain >= wanted))
    return found
