"""What the controller costs, and what its small models gain, on a DLRM of usual size.

    python benchmarks/controller.py [--quick] [--json FILE]

The model and the batches are those of click_dlrm.py; one thread. A training step is all that a
learner does with a batch: admission, forward, backward, both optimizers, and a contest of rows
after every second batch. Models that are compared take turns on the same batches, in alternating
order, and a ratio is the median of the batches' ratios. Times are processor times of this process,
so that others on the machine disturb them less; what two equal models differ by says how far they
still do. ``--quick``: fewer batches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from click_dlrm import (
    CAPACITIES,
    ROWS,
    SEED,
    Scripted,
    Step,
    batches,
    example,
    given_scores,
    learner,
    seconds,
    take_turns,
)
from record import Figure, arguments, finish

from stream_prune.minibatch.batch import MiniBatch
from stream_prune.sparsity import SparsityController
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.live import LiveModel
from stream_prune.sparsity.policies.policy import Decision, Grow, Shrink
from stream_prune.sparsity.prove import prove
from stream_prune.training.learner import Learner

SHRINK, GROW, RESTORE = Shrink(0.2, "step", settles=True), Grow(0.4, "drift"), Grow(1.0, "drift")
MOVES: dict[str, Decision] = {
    "shrink to 20 % MACs": SHRINK,
    "grow to 40 % MACs": GROW,
    "grow to full": RESTORE,
}

Units = Mapping[str, tuple[int, ...]]


def main() -> None:
    options = arguments("What the controller costs, and what its small models gain.")
    torch.set_num_threads(1)
    stream, rounds = batches(20 if options.quick else 40), 2 if options.quick else 4
    small = Scripted((SHRINK,))
    plans = {"20 % width": fifth_of_every_width(), "20 % MACs": watched(small, stream)[1]}
    found = [
        *speed(plans, stream, rounds),
        *overhead("dense", Scripted(), stream, rounds),
        *overhead("20 % MACs", small, stream, 2 * rounds),
        *applying(stream, 4 if options.quick else 12),
        *memory_and_start(),
    ]
    widths = {name: {key: len(kept) for key, kept in plan.items()} for name, plan in plans.items()}
    finish(found, options.json, seeds=[SEED], batch=ROWS, rounds=rounds, widths=widths)


def fifth_of_every_width() -> Units:
    """A fifth of every group's units, to the nearest multiple of 8."""
    groups = prove(learner().head, Example(example())).groups
    return {group.name: tuple(range(8 * round(group.units / 40))) for group in groups}


def watched(policy: Scripted, stream: Sequence[MiniBatch]) -> tuple[Learner, Units]:
    """A model with a controller after the first window, and what it kept."""
    made = learner(policy, window_rows=2 * ROWS)
    for batch in stream[:2]:
        made.learn(batch)
        made.regulate(batch, given_scores())
    assert isinstance(made.controller, SparsityController)
    return made, made.controller.plan.units


def compacted(units: Units) -> Learner:
    """The model under a plan, without a controller."""
    made = learner()
    proven = prove(made.head, Example(example()))
    LiveModel(made.head, made.optimizer, proven, {}).resize_units(units)
    return made


def training(made: Learner) -> Step:
    """A whole training step, the controller's part included if there is one."""
    scores = given_scores()

    def step(batch: MiniBatch) -> None:
        made.learn(batch)
        made.regulate(batch, scores)
        if batch.name.index % 2:
            made.end_window()

    return step


def regulating(made: Learner) -> Step:
    """The controller's part alone."""
    scores = given_scores()
    return lambda batch: made.regulate(batch, scores)


def speed(plans: Mapping[str, Units], stream: Sequence[MiniBatch], rounds: int) -> list[Figure]:
    """Training examples per second of physically small models over the dense one's."""
    steps = {"dense": training(learner())}
    steps |= {name: training(compacted(units)) for name, units in plans.items()}
    times = take_turns(steps, stream, rounds)
    found = [
        Figure(f"examples/s, {name}", ROWS / float(np.median(times[name])), "1/s") for name in steps
    ]
    for name, least in (("20 % width", 3.5), ("20 % MACs", 2.3)):
        gain = float(np.median(times["dense"] / times[name]))
        label = f"training speed at {name} over dense"
        found.append(Figure(label, gain, "x", f">= {least}", gain >= least))
    return found


def overhead(name: str, policy: Scripted, stream: Sequence[MiniBatch], rounds: int) -> list[Figure]:
    """What a controller with drift detection adds to a training step of a model."""
    idle, units = watched(policy, stream)
    armed, _ = watched(replace(policy, scoring=True), stream)
    made = {"none": compacted(units), "idle": idle, "armed": armed, "none again": compacted(units)}
    times = take_turns({kind: training(each) for kind, each in made.items()}, stream, rounds)
    added = {kind: 100 * (times[kind] / times["none"] - 1) for kind in made}
    # Windows are two batches long: the second of each ends one.
    within, ending = (float(np.median(added["idle"][:, place::2])) for place in (0, 1))
    scoring = float(np.mean([np.median(added["armed"][:, place::2]) for place in (0, 1)]))
    same = added["none again"]
    unit, label = "% of step", f"controller's overhead, {name}, "
    mean = (within + ending) / 2
    return [
        Figure(label + "within a window", within, unit, "< 3", within < 3),
        Figure(label + "with the ends of windows", mean, unit, "< 3", mean < 3),
        Figure(label + "while units are scored", scoring, unit),
        Figure(f"two {name} models without one, difference", float(np.median(same)), unit),
    ]


def applying(stream: Sequence[MiniBatch], repeats: int) -> list[Figure]:
    """How long choosing and applying a plan takes, in training steps."""
    made = learner(Scripted(tuple(MOVES.values()) * repeats), window_rows=ROWS)
    move: dict[str, list[float]] = {name: [] for name in MOVES}
    step: dict[str, list[float]] = {name: [] for name in MOVES}
    for number in range(len(MOVES) * repeats):
        batch, name = stream[number % len(stream)], list(MOVES)[number % len(MOVES)]
        step[name].append(seconds(made.learn, batch))
        move[name].append(seconds(regulating(made), batch))
    # What a model costs before it shrinks is the dense step, before it grows the small one.
    dense, small = (float(np.median(step[name])) for name in list(MOVES)[:2])
    found = []
    for name, taken in move.items():
        worst, usual = max(taken) / dense, float(np.median(taken))
        found += [
            Figure(name, usual / dense, "dense steps", "< 10", usual < 10 * dense),
            Figure(f"{name}, the slowest", worst, "dense steps", "< 10", worst < 10),
            Figure(name, usual / small, "small steps"),
        ]
    return [*found, *taking_rows(dense)]


def taking_rows(dense_step: float) -> list[Figure]:
    """The same for a plan that takes four fifths of a million rows as well, all in use."""
    everybody = np.concatenate([np.tile(np.arange(size), 2) for size in CAPACITIES])
    bags = np.concatenate(([0], 2 * np.cumsum(CAPACITIES)))
    batch, taken = batches(1)[0], 0.0
    for _ in range(2):  # the first time loops are compiled
        made = learner(Scripted((SHRINK,)), window_rows=ROWS, rows=0.2)
        made.tables.admit(everybody, bags)
        made.learn(batch)
        taken = seconds(regulating(made), batch) / dense_step
    label = "shrink to 20 % MACs and 20 % of 1 M rows"
    return [Figure(label, taken, "dense steps", "< 10", taken < 10)]


def memory_and_start() -> list[Figure]:
    """Bytes that stay, and how long a controller takes to be made."""
    started = time.process_time()
    learner()
    without = time.process_time()
    made = learner(Scripted((SHRINK,)), window_rows=ROWS)
    start = (time.process_time() - without) - (without - started)
    before = held_bytes(made)
    batch = batches(1)[0]
    made.learn(batch)
    made.regulate(batch, given_scores())
    assert isinstance(made.controller, SparsityController)
    mirror = made.controller.summary()["mirror_bytes"]
    return [
        Figure("start of a controller (groups are proven)", start, "s"),
        Figure("dense part with optimizer state, full", before / 1e6, "MB"),
        Figure("dense part with optimizer state, 20 % MACs", held_bytes(made) / 1e6, "MB"),
        Figure("mirror of the full size, in host memory", mirror / 1e6, "MB"),
    ]


def held_bytes(made: Learner) -> int:
    """Bytes of the head's parameters and buffers and of their optimizer state."""
    states = [value for state in made.optimizer.state.values() for value in state.values()]
    tensors = [*made.head.parameters(), *made.head.buffers(), *states]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


if __name__ == "__main__":
    main()
