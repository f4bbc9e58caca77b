"""``stream-prune serve``: a model behind HTTP (Open Inference Protocol v2)."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.errors import ConfigError

if TYPE_CHECKING:
    from stream_prune.artifact import Scorer

REGISTERED = "models:/"


def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An artifact folder, or models:/NAME@ALIAS.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8080,
    name: Annotated[
        str | None, typer.Option(help="Name in requests; by default the model's own.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="ONNX Runtime threads of a request.")] = 1,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI", help="MLflow, where MODEL is models:/NAME@ALIAS."
        ),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where registered models are kept.")] = Path(
        "runs/served"
    ),
) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C; its pages are at /docs.

    Example:

        stream-prune serve models:/flights@champion --tracking-uri sqlite:///runs/quickstart/mlflow.db
    """
    from serving.app import listen
    from serving.app import serve as run_server
    from serving.model_slot import ModelSlot
    from stream_prune.artifact import read_manifest

    if model.startswith(REGISTERED):
        from stream_prune.cli.pull import fetch

        if tracking_uri is None:
            raise ConfigError(f"{model}: --tracking-uri (or MLFLOW_TRACKING_URI) must say where")
        pulled = fetch(model.removeprefix(REGISTERED), cache, tracking_uri)
        folder, version = pulled.folder, pulled.version
    else:
        folder = Path(model)
        if not folder.is_dir():
            raise ConfigError(f"{model}: no such artifact folder (or write models:/NAME@ALIAS)")
        version = read_manifest(folder).digest[:12]
    slot = ModelSlot(name or read_manifest(folder).name, threads)
    served = slot.load(folder, version)
    listener = listen(host, port)
    root = f"http://{host}:{port}"
    typer.echo(f"serving {slot.name}, version {version}, at {root} (what it speaks: {root}/docs)")
    typer.echo(f"try: {_curl(f'{root}/v2/models/{slot.name}/infer', served.scorer)}")
    run_server(slot, listener)


def _curl(url: str, scorer: Scorer) -> str:
    """A command that scores the first row of the model's example."""
    rows = scorer.example()[0].slice(0, 1)
    inputs = [
        {"name": name, "shape": [1], "datatype": kind, "data": rows.column(name).to_pylist()}
        for name in rows.column_names
        if (kind := _datatype(str(rows.schema.field(name).type))) is not None
    ]
    body = shlex.quote(json.dumps({"inputs": inputs}))
    return f"curl -s {url} -H 'content-type: application/json' -d {body}"


def _datatype(arrow: str) -> str | None:
    """The protocol's name of an Arrow type; None for lists, which an example can do without."""
    for start, name in (("int", "INT64"), ("uint", "UINT64"), ("bool", "BOOL"), ("list", None)):
        if arrow.startswith(start):
            return name
    return "FP64" if arrow in ("float", "double", "halffloat") else "BYTES"
