"""``stream-prune recommend``: a recommender of implicit feedback, trained and ranked."""

from __future__ import annotations

import typer

from stream_prune.cli.options import Changes, ConfigFile


def recommend(config: ConfigFile, changes: Changes = None) -> None:
    """Train a recommender on pairs of users and items, and rank all items for every user.

    NeuMF, LightGCN, MultVAE or two towers; dense, or held sparse by masks (`elements`). The best
    epoch is chosen on validation pairs, the figures are of the test pairs. The run folder gets
    weights (safetensors) and the model's code: such a model has no head that could be exported.
    With a `registry` both are published to MLflow.

    Example:

        stream-prune recommend configs/recommend/neumf.yaml
        stream-prune recommend configs/recommend/multvae.yaml --set elements=null
    """
    from rich.console import Console

    from stream_prune.cli import config_file
    from stream_prune.errors import ConfigError
    from stream_prune.training.recommend import CODE, TOLD, WEIGHTS
    from stream_prune.training.recommend import recommend as train
    from stream_prune.training.recommender_config import RecommenderConfig

    console = Console(highlight=False, soft_wrap=True)
    try:
        settings = RecommenderConfig.from_dict(config_file.read(config, changes or []))
    except ConfigError as error:
        raise ConfigError(f"{config}: {error}") from None

    def show(epoch: int, loss: float) -> None:
        if console.is_terminal or epoch == settings.epochs:
            console.print(f"  epoch {epoch} of {settings.epochs}: loss {loss:.4f}")

    figures = train(settings, show)
    k = settings.k
    console.print(
        f"{settings.model} on {settings.dataset}: {figures['users']:,} users, "
        f"{figures['items']:,} items; the best epoch on validation was {figures['best_epoch']}"
    )
    console.print(
        f"test pairs, all items ranked: Recall@{k} {figures[f'recall@{k}']:.4f}, "
        f"NDCG@{k} {figures[f'ndcg@{k}']:.4f}"
    )
    kept, every = figures["weights_not_zero"], figures["weights"]
    console.print(f"weights: {kept:,} of {every:,} are not zero ({kept / every:.0%})")
    typer.echo(f"{settings.run}: {WEIGHTS}, {CODE}, {TOLD}")
    if settings.registry is not None:
        typer.echo(
            f"{settings.registry.model} version {figures['published']} is "
            f"{settings.registry.alias}: weights and code; no split into tables and head, so no "
            "ONNX graph, and serve does not take it"
        )
