"""What rows that follow the stream cost, in time and in memory.

    python benchmarks/embeddings.py [--quick] [--json FILE]

Tables, batches and times as in controller.py: 26 tables with a million rows in all, 2,048 Zipf-like
ids each a batch, dim 16; embeddings alone, with a given gradient, one thread. ``flat`` looks up and
updates; ``follows`` counts, admits, lets rows change hands and keeps ghost caches for five
half-lives as well. Both hold the same rows at the start, and take turns on every batch. Rows change
hands at the end of a window of eight batches, or after every batch where the figure says so.
``EmbeddingBag`` is torch's own with sparse gradients and torch's Adagrad, on ids that are rows.

Memory: distinct ids that never come again, through tables of 100,000 rows in all, in a process of
its own; its resident size after a fifth of them and at the end.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from click_dlrm import CAPACITIES, DIM, ROWS, SEED, Step, batches, take_turns
from record import Figure, arguments, finish
from torch import nn

from stream_prune.embedding import EmbeddingTables, TableConfig
from stream_prune.embedding.config import HALF_LIVES
from stream_prune.minibatch.batch import MiniBatch

WINDOW = 8
SHARES = {"all rows": 1.0, "20 % of the rows": 0.2, "5 % of the rows": 0.05}
IDS, CAPACITY = 50_000_000, 100_000


def main() -> None:
    if sys.argv[1:2] == ["--resident"]:
        print(*resident(int(sys.argv[2])))
        return
    options = arguments("What rows that follow the stream cost, in time and in memory.")
    torch.set_num_threads(1)
    stream, rounds = batches(40), 2 if options.quick else 8
    found: list[Figure] = []
    for name, share in SHARES.items():
        found += speed(name, share, stream, rounds)
    ids = IDS // 10 if options.quick else IDS
    done = subprocess.run(
        [sys.executable, Path(__file__), "--resident", str(ids)],
        check=True,
        capture_output=True,
        text=True,
    )
    early, late = map(float, done.stdout.split())
    grown = 100 * (late / early - 1)
    found += [
        Figure(f"resident after {ids // 5:,} distinct ids", early / 2**20, "MiB"),
        Figure(f"growth until {ids:,}", grown, "%", "< 5", grown < 5),
    ]
    finish(found, options.json, seeds=[SEED], batch=ROWS, rounds=rounds, window=WINDOW)


def speed(name: str, share: float, stream: list[MiniBatch], rounds: int) -> list[Figure]:
    """Times of the contenders on tables with a share of their rows, and their ratios."""
    follows, often, plain = tables(share, HALF_LIVES), tables(share, HALF_LIVES), tables(share)
    for made, window in ((follows, WINDOW), (often, 1), (plain, WINDOW)):
        step = following(made, window)
        for batch in stream:
            step(batch)
        made.churn()
    plain = standing_copy(follows, share)
    steps: dict[str, Step] = {
        "follows": following(follows, WINDOW),
        "follows, hands change every batch": following(often, 1),
        "flat": standing(plain),
    }
    if share == 1:
        steps["EmbeddingBag"] = embedding_bags()
    times = take_turns(steps, stream, rounds)
    evicted = sum(old for _, old in follows.churn().values())
    medians = {step: 1e3 * float(np.median(spent)) for step, spent in times.items()}
    found = [Figure(f"{name}: {step}", ms, "ms") for step, ms in medians.items()]
    for step in ("follows", "follows, hands change every batch"):
        # Over whole windows: what is done at their end is a part of the time.
        ratio = float(np.median(times[step].sum(1) / times["flat"].sum(1)))
        wanted = ("<= 1.5", ratio <= 1.5) if step == "follows" else ("", None)
        found.append(Figure(f"{name}: {step}, over flat", ratio, "x", *wanted))
    found.append(Figure(f"{name}: evictions", evicted / (rounds + 1) / len(stream), "a batch"))
    if share == 1:
        gain = float(np.median(times["EmbeddingBag"].sum(1) / times["follows"].sum(1)))
        found.append(Figure(f"{name}: EmbeddingBag over follows", gain, "x", ">= 3", gain >= 3))
    return found


def tables(share: float, half_lives: tuple[float, ...] = ()) -> EmbeddingTables:
    """Tables with a share of their rows, where they are of some size."""
    sizes = [size if size <= 256 else int(share * size) for size in CAPACITIES]
    configs = [TableConfig(f"t{i}", n, half_lives=half_lives) for i, n in enumerate(sizes)]
    return EmbeddingTables(configs, DIM, lr=0.02)


def standing_copy(follows: EmbeddingTables, share: float) -> EmbeddingTables:
    """Tables with the same rows, without ghost caches."""
    made, rows = tables(share), follows.cache.rows
    spans = np.cumsum([0, *rows.used.tolist()])
    for _ in range(2):  # the second sighting owns a row
        owned = [follows.cache.owned(f) for f in range(len(made.configs))]
        ids = np.concatenate([rows.owner[span] for span in owned])
        made.cache.admit(ids, spans, 1)
    return made


def gradient() -> torch.Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return 0.01 * torch.randn(ROWS, len(CAPACITIES), DIM, generator=generator)


def following(made: EmbeddingTables, window: int) -> Step:
    upstream, learned = gradient(), 0

    def step(batch: MiniBatch) -> None:
        nonlocal learned
        made.read(made.admit(batch.ids)).backward(upstream)  # type: ignore[no-untyped-call]
        made.step()
        learned += 1
        if learned % window == 0:
            made.adapt()

    return step


def standing(made: EmbeddingTables) -> Step:
    upstream = gradient()

    def step(batch: MiniBatch) -> None:
        made(batch.ids).backward(upstream)
        made.step()

    return step


def embedding_bags() -> Step:
    """What a user would write with torch alone, on ids below the tables' sizes."""
    bags = nn.ModuleList(nn.EmbeddingBag(size, DIM, mode="sum", sparse=True) for size in CAPACITIES)
    optimizer = torch.optim.Adagrad(bags.parameters(), lr=0.02)
    upstream = gradient().transpose(0, 1).contiguous()
    offsets = torch.arange(ROWS)
    looked_up: list[Callable[[torch.Tensor], torch.Tensor]] = [
        partial(bag, offsets=offsets) for bag in bags
    ]

    def step(batch: MiniBatch) -> None:
        ids = torch.from_numpy(batch.ids).view(len(CAPACITIES), ROWS)
        out = torch.stack([bag(column) for bag, column in zip(looked_up, ids, strict=True)])
        optimizer.zero_grad()
        out.backward(upstream)  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def resident(ids: int, capacity: int = CAPACITY) -> tuple[int, int]:
    """Resident bytes after a fifth of so many distinct ids, and after all of them."""
    settings = {"half_lives": HALF_LIVES, "waiting": 0.1, "admission": 1}
    configs = [TableConfig(f"t{i}", capacity // 4, **settings) for i in range(4)]  # type: ignore[arg-type]
    made = EmbeddingTables(configs, DIM, lr=0.02)
    batch, sizes = 4 * 16_384, []
    upstream = 0.01 * torch.ones(batch // 4, 4, DIM)
    for place, first in enumerate(range(0, ids, batch)):
        made.read(made.admit(np.arange(first, first + batch))).backward(upstream)  # type: ignore[no-untyped-call]
        made.step()
        if place % WINDOW == WINDOW - 1:
            made.adapt()
        if len(sizes) == 0 and first + batch >= ids // 5:
            sizes.append(resident_now())
    return sizes[0], resident_now()


def resident_now() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
