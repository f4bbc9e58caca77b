"""How far a run's model is from the best possible one, where the events tell their probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stream_prune.errors import RunError

if TYPE_CHECKING:
    from stream_prune.cli.config import Config


def regret_of(config: Config, summary: Mapping[str, Any]) -> dict[str, Any]:
    """A summary's part ``regret``; nothing where the events have no known truth.

    Raises:
        RunError: the run has evaluated other rows than the first ones of the data set.
    """
    source = config.source
    if source is None or source.dataset is None:
        return {}
    from stream_prune.datasets import load
    from stream_prune.datasets.known_truth import BAYES

    dataset = load(source.dataset)
    if not hasattr(dataset, "truth") and not hasattr(dataset, "teacher"):
        return {}
    import pyarrow.parquet as pq

    from stream_prune.evaluation.regret import regret

    (file,) = dataset.prepare(source.folder, source.rows)
    label = config.spec().label
    events = pq.read_table(file, columns=[label, BAYES]).slice(0, int(summary["labelled"]))
    labels = events[label].to_numpy()
    if int(labels.sum()) != summary["positives"]:
        raise RunError(
            f"{file}: of its first {len(labels):,} events {int(labels.sum()):,} are positive, of "
            f"those that the run evaluated {summary['positives']:,}: the file or the log was "
            "changed; replay into a new log"
        )
    warmup = int(summary["warmup_rows"])
    found = regret(
        summary["ne"], summary["ne_after_warmup"], labels, events[BAYES].to_numpy(), warmup
    )
    return {"regret": found}
