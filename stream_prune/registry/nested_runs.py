"""A comparison in MLflow: a parent run with the table, and a child for every run's curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stream_prune.errors import RunError
from stream_prune.registry.client import connect, mlflow_run, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.mlflow_sink import MlflowSink
from stream_prune.registry.parameters import send_parameters

PARENT_TAG = "mlflow.parentRunId"


class NestedRuns:
    """Sends runs as children of one run; calling it again adds what is new.

    Args:
        config: the registry and the experiment.
        parent: the comparison's name.

    Raises:
        RunError: the registry does not answer.
    """

    def __init__(self, config: RegistryConfig, parent: str) -> None:
        self.config = config
        self._client = connect(config)
        self.parent = mlflow_run(self._client, config, parent)

    def add(self, folder: Path) -> None:
        """A run's curves, by the journal's sink, under the parent.

        Raises:
            RunError: the registry does not answer; what was sent is not sent again.
        """
        sent = MlflowSink(folder, self.config).forward()
        child = mlflow_run(self._client, self.config, folder.name)
        with step(f"putting run {folder.name!r} under its comparison", self.config):
            self._client.set_tag(child, PARENT_TAG, self.parent)
        if sent.failure is not None:
            raise RunError(sent.failure)

    def finish(
        self,
        settings: Mapping[str, Any],
        figures: Mapping[str, float],
        tables: Sequence[Path],
    ) -> None:
        """The comparison's settings, figures (as metrics) and tables; then it is over.

        Raises:
            RunError: the registry does not answer.
        """
        with step("sending the comparison", self.config):
            send_parameters(self._client, self.parent, settings)
            for name, value in figures.items():
                self._client.log_metric(self.parent, name, value)
            for table in tables:
                self._client.log_artifact(self.parent, str(table))
            self._client.set_terminated(self.parent)
