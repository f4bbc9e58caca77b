"""A run's configuration as the parameters of its MLflow run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHANGED = "stream_prune.changed."
"""Begins the tag of a parameter that was sent again with another value."""

_BATCH = 100  # the most parameters, or tags, that MLflow takes in one call
_NAME, _VALUE = 250, 5000  # the longest that MLflow takes, as parameters and as tags


def send_parameters(client: MlflowClient, run_id: str, config: Mapping[str, Any]) -> None:
    """Send a configuration; whatever is there already is not sent again.

    MLflow never changes a parameter. A run that was begun anew, with another number of threads for
    example, keeps the first value; the last one becomes a tag, :data:`CHANGED` and the name.

    Args:
        client: of the registry.
        run_id: MLflow's.
        config: nested; the parameter of ``{"optimizer": {"lr": 0.1}}`` is ``optimizer.lr``.
    """
    from mlflow.entities import Param, RunTag

    there = client.get_run(run_id).data.params
    texts = parameters(config)
    new = [Param(name, text) for name, text in texts.items() if name not in there]
    changed = [
        RunTag((CHANGED + name)[:_NAME], text)
        for name, text in texts.items()
        if there.get(name, text) != text
    ]
    for start in range(0, len(new), _BATCH):
        client.log_batch(run_id, params=new[start : start + _BATCH])
    for start in range(0, len(changed), _BATCH):
        client.log_batch(run_id, tags=changed[start : start + _BATCH])


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """A nested configuration as names with dots and texts, cut to what MLflow takes."""
    return dict(_flat("", config))


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), item)
    elif path:
        text = value if isinstance(value, str) else json.dumps(value)
        yield re.sub(r"[^\w\-. /]", "_", path)[:_NAME], text[:_VALUE]
