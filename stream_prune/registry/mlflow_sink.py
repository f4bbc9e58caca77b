"""The journal's curves and parameters in MLflow, while the run goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError
from stream_prune.registry.client import connect, mlflow_run, prepare, step
from stream_prune.registry.config import RegistryConfig
from stream_prune.registry.journal_cursor import Cursor, NewLine, new_lines
from stream_prune.registry.parameters import send_parameters

if TYPE_CHECKING:
    from mlflow import MlflowClient

JOURNAL = "journal.jsonl"
CURSOR = "mlflow_cursor.json"

_BATCH = 1000  # the most metrics that MLflow takes in one call
_KEYS = ("run", "step", "kind")
_TIMES = ("window_end", "event_time")
_START = "start"  # what a run begins with is configuration: parameters, no curves
_END = "end"


@dataclass(frozen=True)
class Forwarded:
    """What one call of :meth:`MlflowSink.forward` sent; ``failure`` says why it stopped early."""

    lines: int = 0
    metrics: int = 0
    failure: str | None = None


class MlflowSink:
    """Forwards the numbers in a run's journal to an MLflow run of the same name.

    Every number of a line becomes the metric ``<kind>/<path>`` at the line's step. Its time is the
    event time, so a line is the same metrics whenever it is sent, and MLflow keeps them once.
    The configuration in the first line becomes the run's parameters.

    Args:
        run_folder: holds ``journal.jsonl``; the cursor is kept beside it.
        config: the registry and the experiment.
    """

    def __init__(self, run_folder: str | Path, config: RegistryConfig) -> None:
        self.folder = Path(run_folder)
        self.config = config
        self._client: MlflowClient | None = None
        self._run_ids: dict[str, str] = {}

    def forward(self) -> Forwarded:
        """Send what is new; call it again at any time, after any failure.

        When MLflow doesn't answer, what was sent so far is remembered, the rest waits for the next
        call, and the result says so: a registry that is away is no reason to stop training.

        Raises:
            RunError: the journal or the cursor can't be read, or the cursor can't be written.
        """
        target = f"{self.config.tracking_uri} {self.config.experiment}"
        path = self.folder / CURSOR
        done = Forwarded()
        for lines in _batched(new_lines(self.folder / JOURNAL, Cursor.read(path, target))):
            try:
                metrics = self._send(lines)
            except RunError as failure:
                self._client = None  # the next call connects anew
                return replace(done, failure=str(failure))
            lines[-1].after.write(path)
            done = Forwarded(done.lines + len(lines), done.metrics + metrics)
        return done

    def _send(self, lines: list[NewLine]) -> int:
        """Send lines of one run; returns the number of metrics."""
        prepare()
        from mlflow.entities import Metric

        if self._client is None:
            self._client = connect(self.config)
        run = str(lines[0].record["run"])
        if run not in self._run_ids:
            self._run_ids[run] = mlflow_run(self._client, self.config, run)
        run_id = self._run_ids[run]
        metrics = [
            Metric(name, value, line.after.time, int(line.record["step"]))
            for line in lines
            for name, value in _numbers(line.record).items()
        ]
        with step(f"sending the parameters of run {run!r}", self.config):
            for line in lines:
                if line.record["kind"] == _START:
                    send_parameters(self._client, run_id, line.record.get("config", {}))
        with step(f"sending the curves of run {run!r}", self.config):
            for start in range(0, len(metrics), _BATCH):
                self._client.log_batch(run_id, metrics[start : start + _BATCH])
            if lines[-1].record["kind"] == _END:
                self._client.set_terminated(run_id)
        return len(metrics)


def _batched(lines: Iterator[NewLine]) -> Iterator[list[NewLine]]:
    """Lines of one run, in groups of no more than a thousand metrics (or one line)."""
    batch: list[NewLine] = []
    size = 0
    for line in lines:
        count = len(_numbers(line.record))
        if batch and (size + count > _BATCH or line.record["run"] != batch[0].record["run"]):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += count
    if batch:
        yield batch


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by metric name; what they are nested in is their path."""
    if record["kind"] == _START:
        return {}
    values = {k: v for k, v in record.items() if k not in (*_KEYS, *_TIMES)}
    return dict(_flat(str(record["kind"]), values))


def _flat(path: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{path}/{key}", item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield re.sub(r"[^\w\-. /]", "_", path)[:250], float(value)
