"""From a run's last durable checkpoint to an artifact, and what that artifact costs to serve."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_prune.errors import ConfigError, RunError
from stream_prune.report.run import SERVING, read_run

if TYPE_CHECKING:
    import pyarrow as pa

    from stream_prune.artifact import Scorer

ARTIFACTS = "artifacts"
WARM_UP_CALLS, TIMED_CALLS = 100, 1_000


def build_artifact(folder: Path, name: str, example: pa.Table, run_name: str | None = None) -> Path:
    """Write the model of a run's last checkpoint to ``RUN/artifacts/<step>``, if it isn't there.

    Args:
        folder: the run folder; its trainer may be at work.
        name: the model's name.
        example: raw rows that the model can score.
        run_name: the run's name in the artifact's lineage; the folder's name by default.

    Raises:
        ConfigError: the folder holds no run.
        RunError: there is no checkpoint yet, it is damaged, or the artifact can't be written.
    """
    from stream_prune.artifact.format import verify
    from stream_prune.artifact.lineage import Lineage
    from stream_prune.artifact.write import write
    from stream_prune.evaluation.prequential import Prequential
    from stream_prune.features import FeatureSpec
    from stream_prune.training.build import build
    from stream_prune.training.checkpoint import read_states
    from stream_prune.training.config import TrainingConfig
    from stream_prune.training.torch_state import ModuleState

    run = read_run(folder)
    if "features" not in run.start or not run.config:
        raise ConfigError(f"{folder}: the run has not begun: there is nothing to publish")
    checkpoint = _newest_checkpoint(folder)
    target = folder / ARTIFACTS / checkpoint.name
    if target.exists():
        verify(target)
        return target
    states = read_states(checkpoint)
    config = TrainingConfig.from_dict({k: v for k, v in run.config.items() if k != "features"})
    spec = FeatureSpec.from_dict(run.start["features"])
    learner = build(config, spec)
    if learner.controller is not None:
        learner.controller.load_state_dict(states["controller"])
    ModuleState(learner.head).load_state_dict(states["head"])
    learner.tables.load_state_dict(states["tables"])
    evaluation = config.evaluation
    figures = Prequential(evaluation.sliding_rows, evaluation.every_windows, evaluation.warmup_rows)
    figures.load_state_dict(states["evaluation"])
    return write(
        target,
        name=name,
        head=learner.head,
        tables=learner.tables,
        spec=spec,
        plan=None if learner.controller is None else learner.controller.plan,
        example=example,
        metrics=figures.summary(),
        lineage=Lineage(
            run=run_name or folder.name,
            step=int(checkpoint.name),
            checkpoint=str(checkpoint),
            log=str(config.log),
            window_end=_whole(states["cursors"]["learned_until"]),
        ),
    )


def measure_serving(folder: Path, artifact: Path) -> dict[str, float]:
    """Bytes of the artifact and milliseconds per single event, kept in the run folder."""
    from stream_prune.artifact import Scorer, read_manifest
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
    run = read_run(folder)
    share = ((run.config.get("sparsity") or {}).get("budget") or {}).get("macs")
    dense = run.start.get("dense_macs_inference")
    if share is None or dense is None:
        return None
    macs = dense
    for line in run.lines:
        if line["step"] <= int(artifact.name):
            macs = line.get("macs_after", line.get("macs_inference", macs))
    if macs <= share * dense:
        return None
    return (
        f"above its budget at this moment: {macs:,.0f} MACs per example, the budget is "
        f"{share * dense:,.0f}: the next settled plan will hold it"
    )


def single_event_ms(scorer: Scorer) -> float:
    """Median milliseconds to score one event given as plain values, on one thread."""
    rows = scorer.example()[0].to_pylist()
    requests = [{key: [value] for key, value in row.items()} for row in rows]
    seconds = []
    for call in range(WARM_UP_CALLS + TIMED_CALLS):
        request = requests[call % len(requests)]
        before = time.perf_counter()
        scorer.score(request)
        seconds.append(time.perf_counter() - before)
    return 1000 * statistics.median(seconds[WARM_UP_CALLS:])


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
