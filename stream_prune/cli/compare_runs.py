"""One run of a comparison: whether it is finished, and the making of it in a worker."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from stream_prune.cli.artifacts import ARTIFACTS, build_artifact
from stream_prune.cli.config import Config
from stream_prune.cli.example_rows import example_rows
from stream_prune.cli.job import log_rows, train
from stream_prune.comparison.processes import tell
from stream_prune.comparison.results import Made
from stream_prune.comparison.series import Series
from stream_prune.errors import ConfigError, RunError

TELL_EVERY_S = 0.5


class Told(NamedTuple):
    """How far a run is: its name, rows evaluated so far, cumulative NE."""

    run: str
    rows: int
    ne: float | None


def finished(job: Config, *, artifact: bool = False) -> Made | None:
    """The run, if it was made to the end of the log as it is now; None otherwise.

    Arguments: with ``artifact`` it must have one, the bytes of which are told.

    Raises:
        ConfigError: the run's folder holds a run of another configuration.
    """
    from stream_prune.training.config import RESULT_FREE
    from stream_prune.training.dataclass_reader import difference
    from stream_prune.training.run_folder import CONFIG, JOURNAL, SUMMARY

    training = job.training
    if not (training.run / SUMMARY).exists():
        return None
    before = json.loads((training.run / CONFIG).read_text())
    asked = {k: v for k, v in training.to_dict().items() if k not in RESULT_FREE | {"device"}}
    # As JSON has it: whole numbers as keys are text there.
    found = difference({k: before.get(k) for k in asked}, json.loads(json.dumps(asked)))
    if found is not None:
        key, old, new = found
        raise ConfigError(
            f"{key} = {new!r}: the run in {training.run} was made with {old!r}: "
            "use that value, or another folder for the comparison"
        )
    summary = json.loads((training.run / SUMMARY).read_text())
    if "events" not in summary or summary["rows_scored"] < log_rows(training):
        return None
    if artifact:
        written = sorted((training.run / ARTIFACTS).glob("*/"))
        if not written:
            return None
        files = (each for each in written[-1].rglob("*") if each.is_file())
        summary["artifact_bytes"] = sum(each.stat().st_size for each in files)
    return Made(training.seed, summary, Series.read(training.run / JOURNAL))


def make(job: Config, *, artifact: bool = False) -> str:
    """Make the run, or what is missing of it; answers why it failed, if it did.

    Arguments: with ``artifact`` its artifact is written as well.
    """
    name, rows, last = job.training.run.name, 0, 0.0

    def show(line: dict[str, object]) -> None:
        nonlocal rows, last
        rows += int(str(line["rows"]))
        if time.monotonic() - last >= TELL_EVERY_S:
            last = time.monotonic()
            ne = line["ne_cumulative"]
            tell(Told(name, rows, ne if isinstance(ne, float) else None))

    try:
        train(job, show, live=False)
        if artifact:
            model = job.training.model.name if job.registry is None else job.registry.model
            build_artifact(job.training.run, model, example_rows(job), settings=job.artifact)
    except (ConfigError, RunError) as error:
        return str(error)
    return ""
