"""One run of a model, and the runs that a figure is made of."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from compare_rankings.contenders import DENSE, Contender, Variant
from compare_rankings.cost import Masked, disk_bytes, products, training_bytes
from compare_rankings.kept import kept
from compare_rankings.outcome import Outcome
from stream_prune.sparsity import DSL, ElementController
from stream_prune.training.fit_ranking import FitConfig, fit
from stream_prune.training.interaction_split import InteractionSplit

REWIRINGS = 40


def at_best_rate(
    name: str,
    contender: Contender,
    parts: InteractionSplit,
    variant: Variant,
    seeds: tuple[int, ...],
    folder: Path | None = None,
) -> list[Outcome]:
    """A run for every seed, at the rate with the best validation NDCG of the first one.

    Arguments: ``folder`` keeps finished runs; None: they are made again each time.
    """

    def run(seed: int, rate: float) -> Outcome:
        title = f"{name} {variant.name}, {contender.epochs} epochs, rate {rate}, seed {seed}"
        file = None if folder is None else folder / f"{title}.npz"
        return kept(file, lambda: trained(contender, parts, variant, seed, rate))

    tried = [run(seeds[0], rate) for rate in contender.rates]
    best = max(tried, key=lambda outcome: outcome.validation)
    for outcome in tried:
        print(
            f"{name} {variant.name}, rate {outcome.rate}: validation NDCG "
            f"{outcome.validation:.4f} at epoch {outcome.epoch}, {outcome.seconds:.0f} s",
            flush=True,
        )
    return [best, *(run(seed, best.rate) for seed in seeds[1:])]


def trained(
    contender: Contender, parts: InteractionSplit, variant: Variant, seed: int, rate: float
) -> Outcome:
    """One run."""
    started = time.process_time()
    torch.manual_seed(seed)
    model, batches = contender.make(parts), contender.batches(parts)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = contender.epochs * sum(1 for _ in batches.epoch(0, np.random.default_rng(0)))
    every = max(1, steps // REWIRINGS)
    run = products(model, contender.examples)
    controller = None
    if variant != DENSE:
        controller = ElementController(
            model,
            optimizer,
            policy=DSL(anneal_steps=steps, every=every, densities=variant.spread),
            density=1 - variant.sparsity,
            example=contender.example(parts),
            seed=seed,
        )
    config = FitConfig(contender.epochs, evaluate_every=max(1, contender.epochs // 20), seed=seed)
    fitted = fit(model, optimizer, batches, parts, config, controller)
    masked = None if controller is None else Masked(controller.summary()["kept"], every)
    return Outcome(
        variant=variant,
        seed=seed,
        rate=rate,
        epoch=fitted.epoch,
        validation=fitted.validation.ndcg,
        test=fitted.test,
        run=run,
        left=products(fitted.model, contender.examples, masked),
        training_bytes=training_bytes(model, optimizer, controller),
        disk_bytes=disk_bytes(fitted.model, controller),
        seconds=time.process_time() - started,
    )
