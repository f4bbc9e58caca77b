"""How fast a training step is: beside FuxiCTR, DeepCTR-Torch, and the limit of this processor.

    python benchmarks/throughput.py [--quick] [--json FILE] [--alone]

DLRM (bottom 512-256-64-16, top 512-256-1, dim 16), 13 dense and 26 categorical features, batches of
2,048, tables of 1 and of 10 million rows in all, Adam for the dense part (at .001; at a
fifth of the width .003). Everybody learns the same
mini-batches once, in turns of a few, and is then tested on the same 32,768 other rows. A turn's
speed is by processor time of one thread, look-ups and all updates included; reading and preparing
rows is not. Ratios are of one turn; medians over the turns.

FuxiCTR and DeepCTR-Torch run in environments of their own (``peers``), each with its own layers,
training step and Adam over everything, so that every row has a gradient in every step; here only
the rows that a batch has touched are read and written. DeepCTR-Torch has no DLRM: its DeepFM has
the same embeddings and top layers. *The limit* is the same step's matrix products and reading the
rows, run bare in this process: all as torch has them, or with the dot products of all pairs by the
compiled loops that training uses.

Ten million rows take 6 GB of memory, and are FuxiCTR's and this project's alone. With two cores,
wall time counts. ``--alone``: without the peers. ``--quick``: fewer turns.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from compare_throughput.clicks import (
    BATCH,
    BOTTOM,
    NARROW_BOTTOM,
    NARROW_TOP,
    SEED,
    TOP,
    Clicks,
    clicks,
)
from compare_throughput.figures import (
    DEEPCTR,
    FUXICTR,
    HALF,
    LIMITS,
    LOOP_LIMITS,
    NARROW,
    NARROW_HALF,
    OWN,
    equal_or_better,
    over,
    rates,
)
from compare_throughput.limit import Limit
from compare_throughput.own import NARROW_RATE, RATE, Own, minibatches
from compare_throughput.peer import Peer
from compare_throughput.turns import Learn, Rates, turns
from peers import DEEPCTR_TORCH, interpreter
from peers import FUXICTR as FUXICTR_PEER
from record import Figure, finish, parser

TURN = 3
"""Mini-batches of a turn."""

WIDTHS = {OWN: (BOTTOM, TOP), NARROW: (NARROW_BOTTOM, NARROW_TOP)}
RATES = {OWN: RATE, NARROW: NARROW_RATE}


def main() -> None:
    options = parser("How fast a training step is, beside peers and the processor's limit.")
    options.add_argument("--alone", action="store_true", help="without the peers")
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    pythons = {}
    if not given.alone:
        pythons = {FUXICTR: interpreter(FUXICTR_PEER), DEEPCTR: interpreter(DEEPCTR_TORCH)}
    rounds, few = (3, 2) if given.quick else (10, 6)
    settings = {"seeds": [SEED], "batch": BATCH, "rounds": [rounds, few], "turn": [TURN, 1]}
    log = clicks(1_000_000, (rounds + 1) * TURN)
    told = million(log, pythons, rounds, TURN)
    told += several_threads(log, rounds)
    finish(told, given.json, **settings)  # the rest takes memory and time
    pythons.pop(DEEPCTR, None)
    told += ten_million(clicks(10_000_000, few + 1), pythons, few, 1)
    finish(told, given.json, **settings)


def million(log: Clicks, pythons: dict[str, Path], rounds: int, batches: int) -> list[Figure]:
    """All of them on tables of a million rows."""
    halves = zip((HALF, NARROW_HALF), both(log, "bfloat16").values(), strict=True)
    own = both(log) | dict(halves)
    contenders: dict[str, Learn | Peer] = {name: each.learn for name, each in own.items()}
    contenders |= {limit: bare(own[name], name) for name, limit in LIMITS.items()}
    contenders |= {limit: bare(own[name], name, loops=True) for name, limit in LOOP_LIMITS.items()}
    size = "1 M rows"
    found, losses = measured(log, pythons, own, contenders, rounds, batches)
    fast = 8 if has_bfloat16() else None
    return [
        *rates(size, found, losses),
        *over(size, found, OWN, FUXICTR, 2),
        *over(size, found, NARROW, FUXICTR, 7),
        *over(size, found, NARROW_HALF, FUXICTR, fast),
        *over(size, found, OWN, DEEPCTR, None),
        *over(size, found, OWN, LIMITS[OWN], 0.8),
        *over(size, found, NARROW, LIMITS[NARROW], 0.8),
        *over(size, found, OWN, LOOP_LIMITS[OWN], 0.8),
        *over(size, found, NARROW, LOOP_LIMITS[NARROW], 0.8),
        *(figure for name in own for figure in equal_or_better(size, losses, name)),
    ]


def ten_million(log: Clicks, pythons: dict[str, Path], rounds: int, batches: int) -> list[Figure]:
    """Dense, and with a fifth of the width, on tables of ten million rows."""
    own = both(log)
    contenders: dict[str, Learn | Peer] = {name: each.learn for name, each in own.items()}
    size = "10 M rows"
    found, losses = measured(log, pythons, own, contenders, rounds, batches)
    return [
        *rates(size, found, losses),
        *over(size, found, OWN, FUXICTR, 10),
        *over(size, found, NARROW, FUXICTR, None),
        *equal_or_better(size, losses, OWN),
    ]


def measured(
    log: Clicks,
    pythons: dict[str, Path],
    own: dict[str, Own],
    contenders: dict[str, Learn | Peer],
    rounds: int,
    batches: int,
) -> tuple[Rates, dict[str, float]]:
    """Speed and logloss of all, the peers included."""
    with tempfile.TemporaryDirectory() as folder:
        log.save(Path(folder))
        names = {FUXICTR: "fuxictr", DEEPCTR: "deepctr-torch"}
        peers = {name: Peer(names[name], python, Path(folder)) for name, python in pythons.items()}
        try:
            found = turns({**peers, **contenders}, rounds, batches)
            losses = {name: each.test() for name, each in {**peers, **own}.items()}
        finally:
            for peer in peers.values():
                peer.close()
    return found, losses


def several_threads(log: Clicks, rounds: int) -> list[Figure]:
    """Two threads, and a GPU where there is one."""
    torch.set_num_threads(2)
    learn: dict[str, Learn | Peer] = {
        f"{name}, 2 threads": each.learn for name, each in both(log).items()
    }
    if torch.cuda.is_available():
        learn |= {f"{name}, GPU": on_gpu(own) for name, own in both(log, device="cuda").items()}
    found = turns(learn, rounds, TURN, clock=time.perf_counter)
    torch.set_num_threads(1)
    return rates("1 M rows, wall time", found, {})


def both(log: Clicks, precision: str = "float32", device: str = "cpu") -> dict[str, Own]:
    """At full width, and at a fifth of it with a higher rate."""
    batches = minibatches(log)
    return {
        name: Own(log, batches, *widths, RATES[name], precision, device)
        for name, widths in WIDTHS.items()
    }


def on_gpu(own: Own) -> Learn:
    def learn(batches: int) -> None:
        own.learn(batches)
        torch.cuda.synchronize()

    return learn


def bare(own: Own, name: str, *, loops: bool = False) -> Learn:
    """The limit of one of the widths, on that learner's own tables."""
    tables = own.learner.tables
    rows = torch.from_numpy(tables.lookup(own.batches[0].ids))
    return Limit(*WIDTHS[name], tables.weight.clone(), rows, loops=loops).learn


def has_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16."""
    info = Path("/proc/cpuinfo")
    return info.exists() and "avx512_bf16" in info.read_text()


if __name__ == "__main__":
    main()
