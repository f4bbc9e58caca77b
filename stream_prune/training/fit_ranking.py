"""Trains a recommender of implicit feedback, and reports the epoch that validation chose."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError, RunError
from stream_prune.evaluation.ranking import Ranking, rank
from stream_prune.sparsity.controller import SparsityController
from stream_prune.sparsity.elements.controller import ElementController
from stream_prune.training.implicit_batches import ImplicitBatches
from stream_prune.training.interaction_split import InteractionSplit

Controller = ElementController | SparsityController


@dataclass(frozen=True)
class FitConfig:
    """How long to train, and how to rank.

    Attributes:
        epochs: passes over the training pairs; all are made.
        evaluate_every: epochs between two looks at the validation part (the last one is looked at).
        k: ranks that count.
        seed: of the order of pairs, negatives, dropout and latents.
        users_at_once: users that are scored together.

    Raises:
        ConfigError: a value out of range.
    """

    epochs: int
    evaluate_every: int = 1
    k: int = 20
    seed: int = 0
    users_at_once: int = 128

    def __post_init__(self) -> None:
        for name in ("epochs", "evaluate_every", "k", "users_at_once"):
            if getattr(self, name) < 1:
                raise ConfigError(f"fit.{name} = {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True, eq=False)
class Fitted:
    """What training came to.

    Attributes:
        model: a copy from the end of the best epoch, in evaluation mode.
        epoch: which one that was, from 1.
        validation: its figures on the validation part.
        test: its figures on the test part, which nothing was chosen by.
        history: (epoch, NDCG@K on the validation part) of every look.
        losses: the mean loss of every epoch.
        steps: optimizer steps taken.
    """

    model: nn.Module
    epoch: int
    validation: Ranking
    test: Ranking
    history: tuple[tuple[int, float], ...]
    losses: tuple[float, ...]
    steps: int


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    batches: ImplicitBatches,
    parts: InteractionSplit,
    config: FitConfig,
    controller: Controller | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Fitted:
    """Train for the epochs given; the best one is that with the highest NDCG@K on validation.

    The test part is ranked once, by the model of that epoch. With a ``SparsityController`` only
    epochs count that end within its budget of MACs: a model that is still wide is not what was
    asked for.

    Args:
        model: has ``loss(*batch)``, and what ``batches`` scores it with.
        optimizer: trains it.
        batches: its kind of mini-batches, of the split's training part.
        parts: the split.
        config: how long, and how to rank.
        controller: keeps the model sparse or small while it trains; None: it stays dense.
        on_epoch: called with each epoch and its mean loss.

    Raises:
        ConfigError: ``batches`` has other pairs than the split's training part.
        DivergedError: with a controller, where gradients were not finite too often.
        RunError: the loss is not finite, or no epoch ended within the budget.
    """
    if not np.array_equal(batches.train.keys, parts.train.keys):
        raise ConfigError("fit: batches are made of other pairs than the split's training part")
    best: tuple[int, Ranking, nn.Module] | None = None
    history, losses, steps = list[tuple[int, float]](), list[float](), 0
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices):
        torch.manual_seed(config.seed)
        for epoch in range(1, config.epochs + 1):
            spent = _train(model, optimizer, batches, epoch, config.seed, controller)
            losses.append(float(np.mean(spent)))
            steps += len(spent)
            if not np.isfinite(losses[-1]):
                raise RunError(
                    f"fit: the loss of epoch {epoch} is {losses[-1]}; lower the learning rate"
                )
            if on_epoch is not None:
                on_epoch(epoch, losses[-1])
            if epoch % config.evaluate_every and epoch < config.epochs:
                continue
            if not _within_budget(controller):
                continue
            figures = _rank(model, batches, parts, config, on_test=False)
            history.append((epoch, figures.ndcg))
            if best is None or figures.ndcg > best[1].ndcg:
                best = epoch, figures, copy.deepcopy(model).eval()
    if best is None:
        raise RunError(
            "fit: no epoch ended within the controller's budget of MACs; train longer, or let its "
            "policy prune earlier"
        )
    chosen, validation, kept = best
    test = _rank(kept, batches, parts, config, on_test=True)
    return Fitted(kept, chosen, validation, test, tuple(history), tuple(losses), steps)


def _train(
    model: nn.Module,
    optimizer: Optimizer,
    batches: ImplicitBatches,
    epoch: int,
    seed: int,
    controller: Controller | None,
) -> list[float]:
    """One epoch; the loss of each batch."""
    model.train()
    device = next(model.parameters()).device
    losses = []
    for batch in batches.epoch(epoch - 1, np.random.default_rng([seed, epoch])):
        here = [each.to(device) if isinstance(each, Tensor) else each for each in batch]
        optimizer.zero_grad()
        loss: Tensor = model.loss(*here)  # type: ignore[operator]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
        if controller is not None:
            controller.step(loss=losses[-1], rows=len(here[0]))
    return losses


def _rank(
    model: nn.Module,
    batches: ImplicitBatches,
    parts: InteractionSplit,
    config: FitConfig,
    *,
    on_test: bool,
) -> Ranking:
    model.eval()
    return rank(
        lambda users: batches.scores(model, users),
        parts.test if on_test else parts.validation,
        parts.known if on_test else parts.train,
        k=config.k,
        users_at_once=config.users_at_once,
    )


def _within_budget(controller: Controller | None) -> bool:
    if not isinstance(controller, SparsityController):
        return True
    return bool(controller.summary()["budget"]["macs"]["met"])
