"""The steps that commands share: events into a mini-batch log, a mini-batch log into a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from stream_prune.cli import reconciled
from stream_prune.cli.config import Config
from stream_prune.cli.curves import curves
from stream_prune.cli.environment import environment
from stream_prune.cli.event_source import join_options, source_files
from stream_prune.cli.events_config import Source
from stream_prune.cli.known_truth import regret_of
from stream_prune.cli.progress import progress
from stream_prune.cli.publisher import publisher
from stream_prune.errors import ConfigError, RunError
from stream_prune.report.run import ENVIRONMENT

if TYPE_CHECKING:
    from beam_jobs.replay import Progress
    from beam_jobs.sink import Reconciliation
    from stream_prune.minibatch.place import LogPlace
    from stream_prune.training.config import TrainingConfig

JOB = "job.yaml"
"""In a run folder: the whole configuration as it was read; `publish` needs no other file."""


def event_files(config: Config) -> tuple[str, ...]:
    """The event files of the configuration; a data set's are written if they aren't there.

    Raises:
        ConfigError: no source is named.
    """
    return source_files(_source(config))


def check_model(config: Config) -> None:
    """Build the model once and drop it: what can't be is told before the events are replayed.

    Raises:
        ConfigError: the specification, tables, device, policy and budget do not go together.
    """
    from stream_prune.training.build import build

    build(config.training, config.spec())


def run_replay(config: Config, console: Console) -> Reconciliation:
    """Write the mini-batch log, or what is missing of it; says what became of every row."""
    from beam_jobs.options import CsvFormat, ReplayOptions
    from beam_jobs.replay import replay

    source, log = _source(config), config.training.log
    with console.status("reading the events ...") if console.is_terminal else nullcontext():
        files = event_files(config)
    options = ReplayOptions(
        files=files,
        spec=config.spec(),
        log=log,
        window_ms=config.windows.length,
        out_of_orderness_ms=config.windows.out_of_orderness,
        max_jump_ms=config.windows.max_jump,
        batch_rows=config.windows.batch_rows,
        format=source.format,
        csv=CsvFormat(source.delimiter, source.null_values),
        max_bad_share=config.max_bad_share,
        join=join_options(config),
    )
    with progress(console, f"replay into {log}") as advance:

        def show(now: Progress) -> None:
            advance(now.rows, f"{now.windows:,} windows")

        counts = replay(options, show)
    console.print(f"  {counts}", highlight=False, soft_wrap=True)
    bad = reconciled.unused(counts)
    if bad:
        console.print(
            f"  {bad:,} rows were not used: see {reconciled.letters(log)}",
            highlight=False,
            soft_wrap=True,
        )
    return counts


def run_training(config: Config, console: Console) -> dict[str, Any]:
    """Train from the last checkpoint to the end of the log; returns the summary.

    ``summary.json`` gets a key ``events`` with what became of every row that the log was made of.
    """
    training = config.training
    total = None if training.follow else log_rows(training)
    step, rows = _done(training.run)
    if step:
        told = f"train {training.run}: goes on from step {step:,}, after {rows:,} rows"
        console.print(told, highlight=False, soft_wrap=True)
    with progress(console, f"train {training.run}", total, start=rows) as advance:

        def show(line: dict[str, Any]) -> None:
            nonlocal rows
            rows += line["rows"]
            ne = line["ne_cumulative"]
            note = "" if ne is None else f"NE {ne:.4f}"
            behind = line["clock"]["behind"]
            lag = f", {behind:,} windows behind" if config.training.follow and behind else ""
            advance(rows, f"{note}, {line['macs_inference']:,} MACs{lag}")

        return train(config, show)


def train(
    config: Config, on_window: Callable[[dict[str, Any]], None], live: bool = True
) -> dict[str, Any]:
    """The same without a word; ``on_window`` sees every window, ``live`` shows curves in MLflow.

    On a log with a known truth the summary also tells how far the model is from the best one.
    """
    from stream_prune.training.run_folder import SUMMARY, write_json
    from stream_prune.training.trainer import Trainer

    training = config.training
    trainer = Trainer(training, on_window=on_window)
    training.run.mkdir(parents=True, exist_ok=True)
    write_json(training.run / ENVIRONMENT, environment())
    save_job(config, training.run)
    shown = curves(training.run, config.registry if live else None)
    published = publisher(training.run, config) if live else nullcontext()
    with shown, published:
        summary = trainer.run()
    summary = summary | regret_of(config, summary) | {"events": reconciled.record(training.log)}
    write_json(training.run / SUMMARY, {"run": training.run.name, **summary})
    return summary


def log_rows(training: TrainingConfig) -> int:
    """Rows that are committed to a run's log now; at most those after which the run ends."""
    rows, stop = _rows(training.log), training.stop_rows
    return rows if stop is None else min(rows, stop)


def save_job(config: Config, folder: Path) -> None:
    """Keep the configuration beside the run it made."""
    import yaml

    values = config.model_dump(mode="json")
    values |= values.pop("training")
    try:
        (folder / JOB).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder / JOB}: cannot be written: {error.strerror}") from None


def _done(run: Path) -> tuple[int, int]:
    """Step of the last checkpoint, and rows evaluated up to it; nothing where there is none."""
    from stream_prune.training import journal
    from stream_prune.training.run_folder import CHECKPOINTS, JOURNAL

    found = [int(p.name) for p in (run / CHECKPOINTS).glob("*") if p.name.isdecimal()]
    if not found or not (run / JOURNAL).is_file():
        return 0, 0
    step = max(found)
    lines = journal.read(run / JOURNAL)
    return step, sum(o["rows"] for o in lines if o["kind"] == "window" and o["step"] <= step)


def _rows(log: LogPlace) -> int:
    """Rows that are committed to a log now."""
    return reconciled.reconciled(log).good


def _source(config: Config) -> Source:
    if config.source is None:
        raise ConfigError(
            "source: is missing: name where events come from (source.dataset or source.files)"
        )
    return config.source
