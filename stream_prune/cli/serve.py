"""``stream-prune serve``: a model behind HTTP (Open Inference Protocol v2, MLflow's)."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from serving.config import ServingConfig
    from serving.follow import Follower
    from serving.model_slot import ModelSlot
    from serving.source import Source

REGISTERED = "models:/"


def serve(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="models:/NAME@ALIAS, models:/NAME/VERSION, or an artifact folder."
        ),
    ],
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of gRPC beside HTTP (extra grpc).")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in requests; by default the model's own.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="ONNX Runtime threads of a request.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A YAML file with more settings, see configs/serving.yaml.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As in --set serving.limits.rows=100."),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow, where MODEL is models:/..."),
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Where registered models are kept; no two servers share one.")
    ] = Path("runs/served"),
) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C; its pages are at /docs.

    What an alias points to is looked up every few seconds, and a new version answers as soon as it
    has been fetched and checked; so does what a link to an artifact folder points to.

    Example:

        stream-prune serve models:/flights@champion --tracking-uri sqlite:///runs/quickstart/mlflow.db
    """
    from serving.app import create_app
    from serving.server import listen
    from serving.server import serve as run_server
    from stream_prune.cli.serving_config import load

    settings = load(config, changes or ())
    given: dict[str, Any] = {"host": host, "port": port, "threads": threads}
    given["grpc_port"] = grpc_port
    settings = replace(settings, **{key: v for key, v in given.items() if v is not None})
    source, version = _source(model, tracking_uri, cache, settings)
    slot, follower = _loaded(source, version, name or _name(model), settings)
    if settings.grpc_port is not None:  # a port that is taken is told before anything runs
        with listen(settings.host, settings.grpc_port) as free:
            settings = replace(settings, grpc_port=free.getsockname()[1])
    app = create_app(slot, settings, follower)
    listener = listen(settings.host, settings.port)
    scheme = "http" if settings.access.certificate is None else "https"
    root = f"{scheme}://{settings.host}:{listener.getsockname()[1]}"
    assert slot.live is not None
    typer.echo(
        f"serving {slot.name}, version {slot.live.version}, at {root} (what it speaks: {root}/docs)"
    )
    if settings.grpc_port is not None:
        typer.echo(f"gRPC at {settings.host}:{settings.grpc_port}")
    if follower is not None and settings.following.every_s:
        typer.echo(f"following {model}, a look every {settings.following.every_s:g} s")
    typer.echo(f"try: {_curl(f'{root}/v2/models/{slot.name}/infer', slot, settings)}")
    run_server(app, listener, settings)


def _source(
    model: str, tracking_uri: str | None, cache: Path, settings: ServingConfig
) -> tuple[Source, str | None]:
    """Where the model comes from, and the version if it is to be one for ever."""
    from serving.source import FolderSource, RegistrySource

    if not model.startswith(REGISTERED):
        if not Path(model).is_dir():
            raise ConfigError(f"{model}: no such artifact folder (or write models:/NAME@ALIAS)")
        return FolderSource(Path(model)), None
    if tracking_uri is None:
        raise ConfigError(f"{model}: --tracking-uri (or MLFLOW_TRACKING_URI) must say where")
    from stream_prune.registry.config import RegistryConfig

    registered = model.removeprefix(REGISTERED)
    named, at, alias = registered.partition("@")
    named, slash, version = named.partition("/")
    if bool(at) == bool(slash) or not (alias or version):
        raise ConfigError(f"{model}: write models:/NAME@ALIAS or models:/NAME/VERSION")
    config = RegistryConfig(tracking_uri, named, alias=alias or "champion")
    return RegistrySource(config, cache, settings.following.timeout_s), version or None


def _loaded(
    source: Source, version: str | None, name: str, settings: ServingConfig
) -> tuple[ModelSlot, Follower | None]:
    """A slot with its first model, and who follows what comes after it."""
    from serving.follow import Follower
    from serving.model_slot import ModelSlot

    slot = ModelSlot(name, settings.threads)
    try:
        if version is not None:
            slot.load(source.fetch(version), version)
            source.close()
            return slot, None
        follower = Follower(slot, source, settings.following)
        follower.look()
    except BaseException:
        source.close()
        raise
    return slot, follower


def _name(model: str) -> str:
    from stream_prune.artifact import read_manifest

    if model.startswith(REGISTERED):
        return model.removeprefix(REGISTERED).partition("@")[0].partition("/")[0]
    return read_manifest(Path(model)).name


def _curl(url: str, slot: ModelSlot, settings: ServingConfig) -> str:
    """A command that scores the first row of the model's example."""
    from serving.openapi import infer_example

    assert slot.live is not None
    body = shlex.quote(json.dumps(infer_example(slot.live.scorer, rows=1)))
    key = settings.access.key_env
    more = "" if key is None else f' -H "authorization: Bearer ${key}"'
    more += "" if settings.access.certificate is None else " --cacert AUTHORITY.pem"
    return f"curl -s {url} -H 'content-type: application/json'{more} -d {body}"
