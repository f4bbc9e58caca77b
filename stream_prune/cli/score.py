"""``stream-prune score``: scores of a file of events, from an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 8_192
"""Rows scored at once: bounds memory, whatever the file's size."""


def score(
    artifact: Annotated[Path, typer.Argument(help="Artifact folder (see pull, publish).")],
    file: Annotated[Path, typer.Argument(help="Events: .parquet, .csv or .jsonl.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the rows with a column `score` (same kinds)."),
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last N rows.")] = None,
) -> None:
    """Score events with an artifact; torch and MLflow are not needed for it.

    Without --output, one probability a line.

    Example:

        stream-prune score runs/quickstart/models/flights/1 runs/quickstart/data/flights.parquet \\
            --last 5
    """
    from stream_prune.cli.event_files import write_events

    events = scored(artifact, file, last)
    if output is None:
        values = events.column("score").to_pylist()
        typer.echo("".join(f"{value:.6f}\n" for value in values), nl=False)
        return
    write_events(events, output)
    typer.echo(f"{output}: {events.num_rows:,} rows scored")


def scored(artifact: Path, file: Path, last: int | None = None) -> pa.Table:
    """The rows of ``file``, or the ``last`` ones, with a column ``score`` (float32).

    Raises:
        ConfigError: the file is missing, or lacks a column that the model needs.
        RunError: the artifact or the file is damaged, or a row can't be scored.
    """
    import numpy as np
    import pyarrow as pa

    from stream_prune.artifact import ScoreError, Scorer
    from stream_prune.cli.event_files import read_events

    scorer = Scorer.load(artifact)
    events = read_events(file)
    if last is not None:
        events = events.slice(max(0, events.num_rows - last))
    scores = [np.empty(0, np.float32)]
    for start in range(0, events.num_rows, ROWS):
        try:
            scores.append(scorer.score(events.slice(start, ROWS)))
        except ScoreError as error:
            if error.row is None:
                raise ConfigError(f"{file}: {error}") from None
            where = ScoreError(error.reason, column=error.column, row=start + error.row)
            raise RunError(f"{file}: {where}") from None
    if "score" in events.column_names:
        events = events.drop_columns(["score"])
    return events.append_column("score", pa.array(np.concatenate(scores)))
