"""What a row set that follows the stream costs over one that stands still.

    python benchmarks/embedding_rows.py [--quick] [--json FILE]

Tables, batches and times as in controller.py; embeddings alone, with a given gradient. Both tables
hold the same rows at the start. The plain one looks up, reads and updates; the other one counts
and admits as well, and contests its weakest rows after every batch, which in training happens at
the end of a window only.
"""

from __future__ import annotations

import numpy as np
import torch
from click_dlrm import CAPACITIES, DIM, ROWS, SEED, Step, batches, take_turns
from record import Figure, arguments, finish

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.minibatch.batch import MiniBatch

SHARES = {"all rows, nothing evicted": 1.0, "20 % of the rows": 0.2, "5 % of the rows": 0.05}


def main() -> None:
    options = arguments("What a row set that follows the stream costs over one that stands still.")
    torch.set_num_threads(1)
    stream, rounds, found = batches(40), 2 if options.quick else 8, list[Figure]()
    for name, share in SHARES.items():
        follows, stands = tables(share), tables(share)
        for batch in stream:
            following(follows)(batch)
        stands.load_state_dict(follows.state_dict())
        follows.churn()
        steps = {"follows": following(follows), "stands": standing(stands)}
        times = take_turns(steps, stream, rounds)
        evicted = sum(old for _, old in follows.churn().values())
        ratio = float(np.median(times["follows"] / times["stands"]))
        found += [
            Figure(f"{name}: follows over stands", ratio, "x", "<= 1.5", ratio <= 1.5),
            Figure(f"{name}: follows", 1e3 * float(np.median(times["follows"])), "ms"),
            Figure(f"{name}: evictions", evicted / (rounds + 1) / len(stream), "a batch"),
        ]
    finish(found, options.json, seeds=[SEED], batch=ROWS, rounds=rounds)


def tables(share: float) -> EmbeddingTables:
    """Tables with a share of their rows, where they are of some size."""
    sizes = [size if size <= 256 else int(share * size) for size in CAPACITIES]
    configs = [TableConfig(f"table{i}", size) for i, size in enumerate(sizes)]
    return EmbeddingTables(configs, DIM, lr=0.02)


def gradient() -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return 0.01 * torch.randn(ROWS, len(CAPACITIES), DIM, generator=generator)


def following(made: EmbeddingTables) -> Step:
    upstream = gradient()

    def step(batch: MiniBatch) -> None:
        made.read(made.admit(batch.ids)).backward(upstream)  # type: ignore[no-untyped-call]
        made.step()
        made.adapt()

    return step


def standing(made: EmbeddingTables) -> Step:
    upstream = gradient()

    def step(batch: MiniBatch) -> None:
        made(batch.ids).backward(upstream)
        made.step()

    return step


if __name__ == "__main__":
    main()
