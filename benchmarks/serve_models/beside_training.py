"""How long a training loop waits while its models are published by a process beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from click_dlrm import batches
from record import Figure

from serve_models.artifacts import NAME
from serve_models.publisher import Publisher
from stream_prune.registry.config import RegistryConfig
from stream_prune.training.checkpoint import Checkpoints
from stream_prune.training.learner import Learner
from stream_prune.training.torch_state import ModuleState

_STEPS = 30
"""Steps of training before each publication, with nothing beside them."""


def waiting(made: Learner, artifacts: Sequence[Path], folder: Path) -> list[Figure]:
    """Training steps in turns: alone, and while a version is published.

    A step's wait is its time by the clock less its processor time. Publishing starts from a
    checkpoint that the trainer writes anyway; what that takes is told beside it.

    Args:
        made: the model in training.
        artifacts: published one after another, to a registry of their own.
        folder: for the registry's database, and a checkpoint.
    """
    stream, turn = batches(8), 0

    def step() -> tuple[float, float]:
        nonlocal turn
        begun, worked = time.perf_counter(), time.process_time()
        made.learn(stream[turn % len(stream)])
        turn += 1
        taken = time.perf_counter() - begun
        return taken, taken - (time.process_time() - worked)

    alone: list[tuple[float, float]] = []
    longest_alone, longest, beside = [], [], []
    with Publisher(RegistryConfig(f"sqlite:///{folder}/beside.db", NAME)) as publisher:
        publisher.publish(artifacts[0])  # its start is not the loop's business
        for artifact in artifacts[1:]:
            quiet = [step() for _ in range(_STEPS)]
            publishing = threading.Thread(target=publisher.publish, args=(artifact,))
            publishing.start()
            busy = [step()]
            while publishing.is_alive():
                busy.append(step())
            publishing.join()
            alone += quiet
            longest_alone.append(max(wait for _, wait in quiet))
            longest.append(max(wait for _, wait in busy))
            beside += busy
    median = float(np.median([taken for taken, _ in alone]))
    stall = float(np.median(longest)) / median
    begun = time.perf_counter()
    Checkpoints(folder / "checkpoints").save(
        1, {"head": ModuleState(made.head), "tables": made.tables}
    )
    saved = time.perf_counter() - begun
    slower = float(np.median([taken for taken, _ in beside])) / median
    note = f"publications: {min(longest) / median:.2f} to {max(longest) / median:.2f} steps"
    return [
        Figure("training step, alone", 1e3 * median, "ms"),
        Figure("longest wait of a step while a version is published", stall, "steps", "< 1",
               stall < 1, note),
        Figure("longest wait of a step with nothing beside it",
               float(np.median(longest_alone)) / median, "steps"),
        Figure("training step while a version is published", slower, "x alone"),
        Figure("a checkpoint, which training writes anyway", saved / median, "steps"),
    ]  # fmt: skip
