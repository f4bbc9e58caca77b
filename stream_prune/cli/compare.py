"""``stream-prune compare``: a grid of runs over one mini-batch log, and what came of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream_prune.cli.options import Changes, ConfigFile
from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from stream_prune.cli.compare_config import Grid, Search
    from stream_prune.comparison.results import Cell, Made, Row

TABLE, CELLS, RUNS, RATES = "table.md", "table.csv", "runs.csv", "rates.csv"


def compare(
    config: ConfigFile,
    changes: Changes = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; by default one a core.")
    ] = None,
) -> None:
    """Compare policies, budgets, models and seeds over the same events.

    The mini-batch log is written once and shared. Started again, what is finished is not made
    again, and what was interrupted goes on from its checkpoint.

    Example:

        stream-prune compare configs/compare.yaml
        stream-prune compare configs/compare.yaml --set 'search={rates: [0.5, 1, 2], seeds: [11]}'
        stream-prune compare configs/compare.yaml --set 'seeds=[1,2,3]' --jobs 4
    """
    from rich.console import Console

    from stream_prune.cli.commands import program, runs_page
    from stream_prune.cli.compare_config import load_grid
    from stream_prune.cli.job import check_model, run_replay

    console = Console()
    grid = load_grid(config, changes or [])
    for cell, each in grid.runs.items():
        try:
            check_model(each[0])
        except ConfigError as error:
            raise ConfigError(f"{config}: {cell}: {error}") from None
    first = grid.every[0]
    run_replay(first, console)
    if grid.comparison.search is not None:
        grid = best_rates(grid, grid.comparison.search, jobs, console)
    made, failed = make_runs(grid, jobs, console)
    rows = _tables(grid, made, console)
    folder = grid.comparison.folder
    typer.echo(f"tables: {', '.join(str(folder / name) for name in (TABLE, CELLS, RUNS))}")
    typer.echo(f"report: {program()} report {shlex.quote(str(folder / 'runs'))}/*")
    if first.registry is not None:
        _send(grid, rows, console)
        typer.echo(f"MLflow: {runs_page(first.registry)}")
    if failed:
        told = "\n".join(f"  {name}: {why}" for name, why in failed.items())
        raise RunError(f"{len(failed)} of {len(grid.every)} runs failed:\n{told}")


def best_rates(grid: Grid, search: Search, jobs: int | None, console: Console) -> Grid:
    """The grid with every cell at the learning rate that had the least NE on the search's seeds.

    All tries are told in :data:`RATES`.

    Raises:
        RunError: a cell has no try that was finished.
    """
    from statistics import fmean

    from stream_prune.cli.compare_config import Grid
    from stream_prune.comparison.results import FIGURES
    from stream_prune.comparison.table import rates_csv

    every = grid.tries(search)
    named = {
        cell._replace(policy=f"{cell.policy} x {rate:g}"): (cell, rate) for cell, rate in every
    }
    console.print(
        f"learning rates: {len(search.rates)} for each of {len(grid.runs)} cells", highlight=False
    )
    tries = Grid(grid.comparison, {name: every[key] for name, key in named.items()})
    made, _ = make_runs(tries, jobs, console)
    found: dict[tuple[Cell, float], float] = {}
    for name, runs in made.items():
        losses = [ne for run in runs if (ne := FIGURES["ne"](run.summary)) is not None]
        if len(losses) == len(search.seeds):  # a rate at which a seed diverged is none
            found[named[name]] = fmean(losses)
    chosen = {}
    for cell in grid.runs:
        mine = {rate: found[cell, rate] for rate in search.rates if (cell, rate) in found}
        if not mine:
            raise RunError(f"{cell}: no learning rate of {list(search.rates)} could be trained")
        chosen[cell] = min(mine, key=lambda rate: mine[rate])
        lr = every[cell, chosen[cell]][0].training.optimizer.lr
        edge = chosen[cell] in (min(search.rates), max(search.rates))
        told = ", the end of what was tried: try more" if edge else ""
        console.print(f"{cell}: {lr:g} (x {chosen[cell]:g}){told}", highlight=False)
    rates = {key: jobs[0].training.optimizer.lr for key, jobs in every.items()}
    _write(grid.comparison.folder / RATES, rates_csv(found, rates, chosen))
    return grid.at(chosen)


def make_runs(
    grid: Grid, jobs: int | None, console: Console
) -> tuple[dict[Cell, list[Made]], Mapping[str, str]]:
    """All runs that are not finished yet; the finished ones by cell, and why others failed."""
    from stream_prune.cli.compare_board import Board
    from stream_prune.cli.compare_runs import finished, make
    from stream_prune.cli.job import log_rows
    from stream_prune.comparison.processes import Workers, cores

    wanted = grid.comparison.artifacts
    missing = [job for job in grid.every if finished(job, artifact=wanted) is None]
    if len(missing) < len(grid.every):
        there = len(grid.every) - len(missing)
        console.print(f"{there} of {len(grid.every)} runs are there already", highlight=False)
    failed: dict[str, str] = {}
    if missing:
        threads = missing[0].training.threads
        at_once = min(len(missing), jobs or max(1, cores() // threads))
        work = partial(make, artifact=grid.comparison.artifacts)
        board = Board(console, len(missing), log_rows(missing[0].training), at_once)
        with board, Workers(at_once, threads) as workers:
            for job, why in workers.each(work, missing, board.tell):
                if why:
                    failed[job.training.run.name] = why
                board.finished(job, why)
    made = {
        cell: [
            run
            for job in each
            if job.training.run.name not in failed and (run := finished(job, artifact=wanted))
        ]
        for cell, each in grid.runs.items()
    }
    return {cell: runs for cell, runs in made.items() if runs}, failed


def _tables(grid: Grid, made: Mapping[Cell, list[Made]], console: Console) -> list[Row]:
    """The result table on the console, in Markdown and as CSV."""
    from stream_prune.cli.compare_board import print_table
    from stream_prune.comparison import results, table

    comparison = grid.comparison
    warmup = grid.every[0].training.evaluation.warmup_rows
    rows = results.compare(made, comparison.against, comparison.block, warmup)
    lines = table.table(rows, comparison.against)
    names = lines[0].index("seeds")
    for name, text in (
        (TABLE, table.markdown(lines, names)),
        (CELLS, table.cells_csv(rows)),
        (RUNS, table.runs_csv(rows)),
    ):
        _write(comparison.folder / name, text)
    print_table(console, lines, names)
    return rows


def _send(grid: Grid, rows: list[Row], console: Console) -> None:
    """The comparison into MLflow; a registry that does not answer stops nothing."""
    from statistics import fmean

    from stream_prune.registry.nested_runs import NestedRuns
    from stream_prune.training.run_folder import SUMMARY

    comparison, registry = grid.comparison, grid.every[0].registry
    assert registry is not None
    figures = {
        f"{name}/{row.cell}".replace("%", "pc"): fmean(known)
        for row in rows
        for name, values in row.figures.items()
        if (known := [value for value in values if value is not None])
    }
    try:
        parent = NestedRuns(registry, comparison.folder.name)
        for job in grid.every:
            if (job.training.run / SUMMARY).exists():
                parent.add(job.training.run)
        tables = [comparison.folder / name for name in (TABLE, CELLS, RUNS)]
        parent.finish(comparison.model_dump(mode="json"), figures, tables)
    except RunError as error:
        console.print(
            f"MLflow does not have all of it: {error}; start again to send the rest",
            highlight=False,
            soft_wrap=True,
        )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
