"""``stream-prune quickstart``: the main job, end to end, on a real log."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from stream_prune.cli.config import Config

RUNS = ("dense", "small_dense", "static", "adaptive")
"""The runs, in the order of the table; each has a configuration of its name."""
PUBLISHED = "adaptive"
SCORED_ROWS = 1_000


def quickstart(
    folder: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("runs/quickstart"),
    configs: Annotated[Path, typer.Option(help="Folder of the four configurations.")] = Path(
        "configs/quickstart"
    ),
    rows: Annotated[
        int | None, typer.Option(min=1, help="Only the first N events of the data set.")
    ] = None,
) -> None:
    """Replay a year of flights, train four models on it, publish one, serve its scores, report.

    Started again, it goes on where it stopped; what is complete is not done again.

    Example:

        stream-prune quickstart
        stream-prune quickstart --rows 60000 --folder runs/try
    """
    from rich.console import Console

    from stream_prune.cli.config import named
    from stream_prune.cli.figures import print_figures
    from stream_prune.cli.job import check_model, run_replay, run_training

    console = Console()
    jobs = {name: _job(name, configs, folder, rows) for name in RUNS}
    for name, job in jobs.items():
        with named(configs / f"{name}.yaml"):
            check_model(job)
    _say(console, 1, "replay the events into a mini-batch log")
    run_replay(jobs[PUBLISHED], console)
    _say(console, 2, "train on it: dense, small dense, static and adaptive sparse")
    for job in jobs.values():
        run_training(job, console)
    _say(console, 3, "write an artifact of each model and measure how it serves")
    _measure(jobs, console)
    _say(console, 4, f"publish {PUBLISHED}, pull it back, verify, score")
    pulled, scores = _round_trip(jobs[PUBLISHED], folder, console)
    _say(console, 5, "compare")
    runs = [job.training.run for job in jobs.values()]
    report = _report(runs, folder / "report.html")
    print_figures(console, runs)
    _next_commands(jobs[PUBLISHED], pulled, scores, report)


def _job(name: str, configs: Path, folder: Path, rows: int | None) -> Config:
    """A run's configuration, with all its paths under ``folder``."""
    from stream_prune.cli.config import load

    path = configs / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such file: run in the repository's root, or say --configs FOLDER"
        )
    changes = [
        f"run={folder}/runs/{name}",
        f"log={folder}/log",
        f"source.folder={folder}/data",
        f"registry.tracking_uri=sqlite:///{folder}/mlflow.db",
    ]
    if rows is not None:
        changes.append(f"source.rows={rows}")
    return load(path, changes)


def _measure(jobs: dict[str, Config], console: Console) -> None:
    from stream_prune.cli.artifacts import build_artifact, measure_serving
    from stream_prune.cli.progress import progress
    from stream_prune.cli.publish import last_events

    example = last_events(jobs[PUBLISHED])
    for name, job in jobs.items():
        with progress(console, f"artifact of {name}") as advance:
            artifact = build_artifact(job.training.run, _model(job), example, settings=job.artifact)
            figures = measure_serving(job.training.run, artifact)
            advance(
                0, f"({figures['artifact_bytes'] / 1000:,.0f} kB, {figures['latency_ms']:.3f} ms)"
            )


def _round_trip(job: Config, folder: Path, console: Console) -> tuple[Path, Path]:
    """Publish, pull by alias, verify, score the last events; the pulled folder and the scores."""
    from stream_prune.artifact import Scorer
    from stream_prune.cli.artifacts import above_budget
    from stream_prune.cli.event_files import write_events
    from stream_prune.cli.job import event_files
    from stream_prune.cli.progress import progress
    from stream_prune.cli.publish import publish_run
    from stream_prune.cli.pull import fetch
    from stream_prune.cli.score import scored

    registry = job.registry
    assert registry is not None
    with progress(console, f"publish to {registry.tracking_uri}") as advance:
        version, artifact, _ = publish_run(job.training.run)
        advance(0, f"({registry.model} version {version}, alias {registry.alias})")
    above = above_budget(job.training.run, artifact)
    if above is not None:
        console.print(f"  {above}", highlight=False, soft_wrap=True)
    with progress(console, f"pull {registry.model}@{registry.alias}") as advance:
        name = f"{registry.model}@{registry.alias}"
        pulled = fetch(name, folder / "models", registry.tracking_uri)
        difference = Scorer.load(pulled.folder).check_example()
        advance(0, f"(digests verified, example scores differ by {difference:.1g} at most)")
    if pulled.version != version:
        raise RunError(
            f"{name} is version {pulled.version}, a newer one than this run's version {version}: "
            "use another --folder"
        )
    output = folder / "scores.parquet"
    with progress(console, "score the last events") as advance:
        events = scored(pulled.folder, Path(event_files(job)[-1]), last=SCORED_ROWS)
        write_events(events, output)
        advance(events.num_rows, f"to {output}")
    return pulled.folder, output


def _report(runs: list[Path], path: Path) -> Path:
    from stream_prune.report.page import write_report
    from stream_prune.report.run import read_run

    title = "stream_prune quick start: flights from New York City, 2013"
    return write_report([read_run(run) for run in runs], path, title=title)


def _next_commands(job: Config, pulled: Path, scores: Path, report: Path) -> None:
    from stream_prune.cli.commands import program, runs_page
    from stream_prune.cli.job import event_files
    from stream_prune.cli.reconciled import told

    registry = job.registry
    assert registry is not None
    where = f"--tracking-uri {shlex.quote(registry.tracking_uri)}"
    own = program()
    name = f"{registry.model}@{registry.alias}"
    typer.echo(
        f"""
Report:   {report}  (open it in a browser)
Model:    {pulled}
Scores:   {scores}
Events:   {told(job.training.log)}
MLflow:   {runs_page(registry)}

Next:
  {own} serve models:/{name} {where}
  {own} score {shlex.quote(str(pulled))} {shlex.quote(event_files(job)[-1])} --last 5

Your own log: name its files and columns in configs/own-log.yaml, then
  {own} replay configs/own-log.yaml"""
    )


def _model(job: Config) -> str:
    if job.registry is None:
        raise ConfigError("registry: is missing: the quick start publishes what it trains")
    return job.registry.model


def _say(console: Console, number: int, what: str) -> None:
    console.print(f"[bold]{number}/5 {what}[/bold]", highlight=False)
