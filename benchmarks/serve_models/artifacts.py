"""The models that are served: the DLRM of click_dlrm.py whole, and at a fifth of MACs and rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from click_dlrm import CAPACITIES, ROWS, SEED, SPEC, Scripted, batches, given_scores, learner

from stream_prune.artifact import Lineage
from stream_prune.artifact.config import ArtifactConfig
from stream_prune.artifact.inputs import Inputs
from stream_prune.artifact.write import write
from stream_prune.sparsity import SparsityController
from stream_prune.sparsity.policies.policy import Shrink
from stream_prune.training.learner import Learner

NAME = "clicks"


def dense_learner() -> Learner:
    """The full model, every one of its million rows in use, after some learning."""
    made = learner()
    _fill(made)
    for batch in batches(3):
        made.learn(batch)
    return made


def pruned_learner() -> Learner:
    """The same after a plan of 20 % of the MACs and of the rows."""
    made = learner(Scripted((Shrink(0.2, "step", settles=True),)), window_rows=ROWS, rows=0.2)
    _fill(made)
    stream = batches(3)
    made.learn(stream[0])
    made.regulate(stream[0], given_scores())
    for batch in stream[1:]:
        made.learn(batch)
    return made


def _fill(made: Learner) -> None:
    everybody = np.concatenate([np.tile(np.arange(size), 2) for size in CAPACITIES])
    made.tables.admit(everybody, np.concatenate(([0], 2 * np.cumsum(CAPACITIES))))


def as_artifact(made: Learner, folder: Path, rows: str, step: int = 1) -> Path:
    """Write a model, its rows stored as ``rows`` says."""
    plan = made.controller.plan if isinstance(made.controller, SparsityController) else None
    return write(
        folder,
        name=NAME,
        head=made.head,
        tables=made.tables,
        spec=SPEC,
        plan=plan,
        example=raw(64),
        metrics={},
        lineage=Lineage("serving", step),
        config=ArtifactConfig(rows=rows),
        judged=batches(3) if rows != "float32" else (),
    )


def another(made: Learner, step: int) -> None:
    """The next version of a model: a little learning on other labels."""
    for batch in batches(2):
        flipped = (np.arange(len(batch.label)) % (2 + step % 3) == 0).astype(np.float32)
        made.learn(type(batch)(**{**vars(batch), "label": flipped}))


def raw(rows: int, seed: int = SEED) -> pa.Table:
    """Raw events: dense values of five digits, as logs have them, and ids as they fall in a log."""
    generator = np.random.default_rng(seed)
    dense = {c.name: generator.normal(size=rows).round(4) for c in SPEC.dense}
    ids = {
        c.name: generator.zipf(1.2, rows) % size
        for c, size in zip(SPEC.categorical, CAPACITIES, strict=True)
    }
    return pa.table({**dense, **ids})


def eager(made: Learner, inputs: Inputs) -> torch.Tensor:
    """What a server with PyTorch would do with encoded rows."""
    with torch.inference_mode():
        emb = made.tables(inputs.ids, None)
        return torch.sigmoid(made.head(torch.from_numpy(inputs.dense), emb))
