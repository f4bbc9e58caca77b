"""From a run's last durable checkpoint to an artifact, and what that artifact costs to serve."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_prune.errors import ConfigError, RunError
from stream_prune.report.run import SERVING, read_run

if TYPE_CHECKING:
    import pyarrow as pa

    from stream_prune.artifact.config import ArtifactConfig
    from stream_prune.minibatch.batch import MiniBatch
    from stream_prune.minibatch.log import MiniBatchLog
    from stream_prune.minibatch.reader import Window

ARTIFACTS = "artifacts"
JUDGED_ROWS = 20_000
"""Rows of the log, the last ones learned, on which rounded embedding rows are judged."""


def build_artifact(
    folder: Path,
    name: str,
    example: pa.Table,
    run_name: str | None = None,
    settings: ArtifactConfig | None = None,
    checkpoint: Path | None = None,
) -> Path:
    """Write the model of a run's last checkpoint to ``RUN/artifacts/<step>``, if it isn't there.

    With rounded rows the folder is named ``<step>-int8``, or ``<step>-float16``.

    Args:
        folder: the run folder; its trainer may be at work.
        name: the model's name.
        example: raw rows that the model can score.
        run_name: the run's name in the artifact's lineage; the folder's name by default.
        settings: how rows are stored; as they are by default.
        checkpoint: the checkpoint's folder; the run's last one by default.

    Raises:
        ConfigError: the folder holds no run.
        RunError: there is no checkpoint yet, it is damaged, or the artifact can't be written.
    """
    from stream_prune.artifact.config import ArtifactConfig
    from stream_prune.artifact.format import verify
    from stream_prune.artifact.lineage import Lineage
    from stream_prune.artifact.recent import RECENT, recent_windows, to_metrics
    from stream_prune.artifact.write import write
    from stream_prune.evaluation.prequential import Prequential
    from stream_prune.features import FeatureSpec
    from stream_prune.minibatch.open_log import open_log
    from stream_prune.training.build import build
    from stream_prune.training.checkpoint import read_states, restore
    from stream_prune.training.config import TrainingConfig
    from stream_prune.training.run_folder import CHECKPOINTS
    from stream_prune.training.torch_state import ModuleState

    run = read_run(folder)
    if "features" not in run.start or not run.config:
        raise ConfigError(f"{folder}: the run has not begun: there is nothing to publish")
    checkpoint = checkpoint or _newest_checkpoint(folder)
    step = int(checkpoint.name)
    settings = settings or ArtifactConfig()
    rounded = "" if settings.rows == "float32" else f"-{settings.rows}"
    target = folder / ARTIFACTS / f"{checkpoint.name}{rounded}"
    if target.exists():
        verify(target)
        return target
    states = read_states(checkpoint)
    config = TrainingConfig.from_dict({k: v for k, v in run.config.items() if k != "features"})
    spec = FeatureSpec.from_dict(run.start["features"])
    learner = build(config, spec)
    if learner.controller is not None:
        restore(learner.controller, "controller", states, checkpoint)
    restore(ModuleState(learner.head), "head", states, checkpoint)
    restore(learner.tables, "tables", states, checkpoint)
    evaluation = config.evaluation
    figures = Prequential(evaluation.sliding_rows, evaluation.every_windows, evaluation.warmup_rows)
    restore(figures, "evaluation", states, checkpoint)
    learned = _whole(states["cursors"]["learned_until"])
    return write(
        target,
        name=name,
        head=learner.head,
        tables=learner.tables,
        spec=spec,
        plan=None if learner.controller is None else learner.controller.plan,
        example=example,
        metrics=figures.summary() | {RECENT: to_metrics(recent_windows(run.lines, step))},
        lineage=Lineage(
            run=run_name or folder.name,
            step=step,
            checkpoint=str(folder / CHECKPOINTS / checkpoint.name),
            log=str(config.log),
            window_end=learned,
        ),
        config=settings,
        judged=_last_batches(open_log(config.log), learned) if rounded else (),
    )


def measure_serving(folder: Path, artifact: Path) -> dict[str, float]:
    """Bytes of the artifact and milliseconds per single event, kept in the run folder."""
    from stream_prune.artifact import Scorer, read_manifest
    from stream_prune.artifact.latency import single_event_ms
    from stream_prune.training.run_folder import write_json

    scorer = Scorer.load(artifact)
    figures = {
        "artifact_bytes": float(read_manifest(artifact).size),
        "latency_ms": single_event_ms(scorer),
    }
    write_json(folder / SERVING, figures)
    return figures


def above_budget(folder: Path, artifact: Path) -> str | None:
    """What to say where the model of ``artifact`` costs more than its run's budget; else None.

    It does before the first shrink, and for a while after a drift for which it has grown.
    """
    from stream_prune.artifact import ModelCard

    run = read_run(folder)
    share = ((run.config.get("sparsity") or {}).get("budget") or {}).get("macs")
    dense = run.start.get("dense_macs_inference")
    if share is None or dense is None:
        return None
    macs, step = dense, ModelCard.read(artifact).lineage.step
    for line in run.lines:
        if line["step"] <= step:
            macs = line.get("macs_after", line.get("macs_inference", macs))
    if macs <= share * dense:
        return None
    return (
        f"above its budget at this moment: {macs:,.0f} MACs per example, the budget is "
        f"{share * dense:,.0f}: the next settled plan will hold it"
    )


def _last_batches(log: MiniBatchLog, until: int) -> Iterator[MiniBatch]:
    """The batches of the last windows up to ``until`` (ms): rows enough to judge rounding by."""
    from stream_prune.minibatch.reader import windows

    last: deque[Window] = deque()
    for window in windows(log):
        if window.end > until:
            break
        last.append(window)
        while sum(held.rows for held in last) - last[0].rows >= JUDGED_ROWS:
            last.popleft()
    for window in last:
        for name, ref in window.batches:
            yield log.read(name, ref, log.spec)


def _newest_checkpoint(folder: Path) -> Path:
    # Not through Checkpoints: that tidies the folder up, and its trainer may be writing there.
    from stream_prune.training.run_folder import CHECKPOINTS

    found = sorted(p for p in (folder / CHECKPOINTS).glob("*") if p.name.isdecimal())
    if not found:
        raise RunError(f"{folder}: has no checkpoint yet: wait for the first, or train further")
    return found[-1]


def _whole(value: Any) -> int:
    assert isinstance(value, int)
    return value
