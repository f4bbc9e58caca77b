"""A recommender of implicit feedback from pairs to figures, and as a folder of weights and code.

Such a model has no split into tables and head, so there is no ONNX graph and no scorer without
torch: what is written is ``model.safetensors``, the source of the model's class (``model.py``) and
``model.json``, which says how the two go together. A model that was held sparse is written dense:
its zeros are in the tensors.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stream_prune.datasets import amazon_book, gowalla, movielens_100k, yelp2018
from stream_prune.errors import RunError
from stream_prune.interactions import Interactions
from stream_prune.models.lightgcn import LightGCN
from stream_prune.registry.config import RegistryConfig
from stream_prune.sparsity import ElementController
from stream_prune.tensor_files import system_errors
from stream_prune.training.fit_ranking import Fitted, fit
from stream_prune.training.interaction_split import InteractionSplit, split
from stream_prune.training.recommender_config import OFFICIAL, RECOMMENDERS, RecommenderConfig

WEIGHTS, CODE, TOLD = "model.safetensors", "model.py", "model.json"
PAIRS = "pairs.safetensors"
"""The training pairs, which are part of LightGCN's model."""

_PUBLISHED = {"gowalla": gowalla, "yelp2018": yelp2018, "amazon-book": amazon_book}


def parts(config: RecommenderConfig) -> InteractionSplit:
    """The pairs in three parts; the published test part where there is one.

    Raises:
        ConfigError: files are missing, or shares leave nothing to learn.
        RunError: files can't be read.
    """
    if config.dataset not in OFFICIAL:
        return split(
            movielens_100k.implicit(config.folder),
            validation=config.validation,
            test=config.test,
            seed=config.seed,
        )
    train, test = _PUBLISHED[config.dataset].pairs(config.folder)
    found = split(train, validation=config.validation, test=0.0, seed=config.seed)
    rest = Interactions.of(test.user, test.item, users=test.users, items=test.items)
    return dataclasses.replace(found, test=rest)


def recommend(
    config: RecommenderConfig, on_epoch: Callable[[int, float], None] | None = None
) -> dict[str, Any]:
    """Train, rank all items for every user, and write the model of the best epoch.

    Args:
        config: what is trained.
        on_epoch: called with each epoch and its mean loss.

    Returns:
        The figures, as they are written to ``model.json``; and ``published``, the version's number,
        where there is a registry.

    Raises:
        ConfigError, RunError: see :func:`parts` and :func:`~.fit_ranking.fit`.
    """
    torch.set_num_threads(config.threads)
    found = parts(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = config.build(found)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    controller = _controller(config, model, optimizer)
    batches = config.batches(found)
    fitted = fit(model, optimizer, batches, found, config.fit(), controller, on_epoch)
    figures = _figures(config, found, fitted)
    write(config, fitted.model, found, figures)
    if config.registry is not None:
        figures["published"] = _publish(config, config.registry, fitted, found, figures)
    return figures


def write(
    config: RecommenderConfig, model: nn.Module, found: InteractionSplit, figures: dict[str, Any]
) -> None:
    """Write the model to the run folder.

    Raises:
        RunError: it can't be written.
    """
    train = found.train
    told = {
        "model": config.model,
        "class": type(model).__name__,
        "sizes": dataclasses.asdict(config.sizes(train.user_count, train.item_count)),
        "files": {"weights": WEIGHTS, "code": CODE}
        | ({"pairs": PAIRS} if config.model == "lightgcn" else {}),
        "note": "no split into tables and head: weights and code, no ONNX graph",
        "figures": figures,
        "config": config.to_dict(),
    }
    source = Path(inspect.getsourcefile(type(model)) or "")
    try:
        config.run.mkdir(parents=True, exist_ok=True)
        with system_errors():
            save_file(
                {name: each.contiguous() for name, each in model.state_dict().items()},
                config.run / WEIGHTS,
            )
            if config.model == "lightgcn":
                pairs = {"users": train.users, "items": train.items}
                given = {name: torch.from_numpy(ids.copy()) for name, ids in pairs.items()}
                save_file(given, config.run / PAIRS)
        (config.run / CODE).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
        (config.run / TOLD).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{config.run}: cannot be written: {error.strerror or error}") from None


def load(folder: str | Path) -> nn.Module:
    """The model in a run folder, in evaluation mode. Runs no code of the folder.

    Raises:
        RunError: a file is missing or does not fit.
    """
    folder = Path(folder)
    try:
        told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
        kind = RECOMMENDERS[told["model"]]
        lists = {k: tuple(v) if isinstance(v, list) else v for k, v in told["sizes"].items()}
        sizes = kind.sizes(**lists)
        if told["model"] == "lightgcn":
            pairs = load_file(folder / PAIRS)
            model: nn.Module = LightGCN(sizes, pairs["users"], pairs["items"])
        else:
            model = kind.make(sizes, None)  # type: ignore[arg-type]
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder}: is no recommender's folder: {error}") from None
    return model.eval()


def _publish(
    config: RecommenderConfig,
    registry: RegistryConfig,
    fitted: Fitted,
    found: InteractionSplit,
    figures: dict[str, Any],
) -> str:
    """Register what was written; its example are the first few users with training pairs."""
    from stream_prune.registry.recommender import publish_recommender

    users = np.flatnonzero(found.train.per_user)[:3]
    scores = config.batches(found).scores(fitted.model, users).detach().float().numpy()
    example: dict[str, list[Any]] = {"user": users.tolist()}
    if config.model == "multvae":  # it knows users by what they have
        example = {"items": [found.train.of_users(users[i : i + 1])[1].tolist() for i in range(3)]}
    return publish_recommender(
        config.run,
        registry,
        run=config.run.name,
        epoch=fitted.epoch,
        figures={name: value for name, value in figures.items() if isinstance(value, float)},
        example=example,
        scores=scores,
    )


def _controller(
    config: RecommenderConfig, model: nn.Module, optimizer: torch.optim.Optimizer
) -> ElementController | None:
    if config.elements is None:
        return None
    if config.model == "multvae":
        example: tuple[torch.Tensor, ...] = (torch.rand(4, model.config.items),)  # type: ignore[union-attr,arg-type]
    else:
        example = (torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64))
    return ElementController(
        model,
        optimizer,
        policy=config.elements.build_policy(),
        density=config.elements.density,
        example=example,
        seed=config.seed,
    )


def _figures(config: RecommenderConfig, found: InteractionSplit, fitted: Fitted) -> dict[str, Any]:
    weights = [param for param in fitted.model.parameters() if param.dim() > 1]
    return {
        "users": found.train.user_count,
        "items": found.train.item_count,
        "pairs": {name: len(getattr(found, name)) for name in ("train", "validation", "test")},
        "best_epoch": fitted.epoch,
        "epochs": config.epochs,
        f"recall@{config.k}": fitted.test.recall,
        f"ndcg@{config.k}": fitted.test.ndcg,
        "validation": {
            f"recall@{config.k}": fitted.validation.recall,
            f"ndcg@{config.k}": fitted.validation.ndcg,
        },
        "weights": sum(each.numel() for each in weights),
        "weights_not_zero": sum(int(each.count_nonzero()) for each in weights),
    }
