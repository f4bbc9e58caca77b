"""``stream-prune advise``: replays smaller models and proposes how small one may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_prune.cli.options import Changes, ConfigFile
from stream_prune.errors import ConfigError, RunError

if TYPE_CHECKING:
    from rich.console import Console

    from stream_prune.cli.compare_config import Grid
    from stream_prune.scaling.advice import Advice, Measured

FULL = "full"
SHARES = (0.5, 0.25, 0.125, 0.0625, 0.03125)
WORDS = {"macs": "MACs", "rows": "embedding rows", "dim": "embedding dimension"}
FAR = 3.0
"""Tolerances of loss, surely, from which a part is not cut any further."""
PROPOSALS = 3
"""So many are replayed at most."""


def advise(
    config: ConfigFile,
    tolerance: Annotated[str, typer.Option(help="Loss of NE that is allowed, as 0.1%.")] = "0.1%",
    rows: Annotated[
        int | None, typer.Option(min=1, help="Replay only the first N events of the log.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Replays of every size.")] = 2,
    folder: Annotated[Path, typer.Option(help="Where the replays go.")] = Path("runs/advise"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Replays at once; by default one a core.")
    ] = None,
    changes: Changes = None,
) -> None:
    """Propose budgets of MACs, rows and dimension that cost no more NE than is allowed.

    Each is halved, alone, until it surely costs too much. What is smallest with all three together
    is replayed as well; if that is not within the tolerance, less is proposed. Started again, it
    goes on where it stopped.

    Example:

        stream-prune advise configs/synthetic.yaml --tolerance 0.5% --rows 300000
    """
    from rich.console import Console

    from stream_prune.cli.job import run_replay
    from stream_prune.scaling.advice import candidates, cheapest

    console = Console()
    allowed = _share(tolerance)
    replays = _Replays(config, folder, tuple(range(1, seeds + 1)), rows, changes or [], jobs)
    run_replay(replays.grid({}).every[0], console)
    measured = _measure(replays, allowed, console)
    parts = {
        # The dimension is a whole number: only what was measured of it counts.
        axis: candidates(replays.full, found, law=axis != "dim")
        for axis, found in measured.items()
    }
    wanted = allowed
    for number in range(1, PROPOSALS + 1):
        chosen = cheapest(parts, wanted)
        expected = _tell(chosen)
        if all(part.share == 1 for part in chosen.values()):
            typer.echo("nothing can go at this tolerance: allow more, replay more rows or seeds")
            return
        smaller = replays.changes({axis: part.share for axis, part in chosen.items()})
        name = f"proposal {number}"
        found = replays.run({name: smaller}, console)[name].difference
        within = found.high <= allowed
        typer.echo(
            f"replayed: NE {_percent(found.value)} ({_percent(found.low)} to "
            f"{_percent(found.high)}), {'within' if within else 'not surely within'} the tolerance "
            f"of {_percent(allowed)}"
        )
        if within:
            break
        # Less by as much as it was too much; at any rate not the same again.
        wanted = max(0.0, min(wanted * allowed / found.high, expected * (1 - 1e-9)))
    settings = " ".join(f"--set '{key}={value}'" for key, value in _settings(smaller))
    typer.echo(f"to use it: {settings}")


def _tell(chosen: Mapping[str, Advice]) -> float:
    """Say what is proposed; returns the upper end of the loss expected of it."""
    from stream_prune.scaling.advice import together

    for axis, part in chosen.items():
        typer.echo(
            f"{WORDS[axis]}: {part.share:.1%} of the full size, NE {_percent(part.loss)} "
            f"({_percent(part.interval[0])} to {_percent(part.interval[1])}): {part.reason}"
        )
    loss, (low, high) = together(list(chosen.values()))
    typer.echo(f"together: NE {_percent(loss)} ({_percent(low)} to {_percent(high)}) expected")
    return high


class _Replays:
    """The replays of a configuration at sizes by name, all over the same events."""

    def __init__(
        self,
        config: Path,
        folder: Path,
        seeds: tuple[int, ...],
        rows: int | None,
        changes: list[str],
        jobs: int | None,
    ) -> None:
        from stream_prune.cli.config import load

        self.config, self.folder, self.seeds, self.jobs = config, folder, seeds, jobs
        self.base = load(config, changes)
        self.given = changes
        self.rows = rows
        self.dim = self.base.training.model.dim
        self.policies: dict[str, dict[str, Any]] = {
            FULL: {"sparsity": None, "elements": None, "drift": None, "control": None}
        }

    def changes(self, shares: Mapping[str, float]) -> dict[str, Any]:
        """What makes a model of these shares of MACs, rows and dimension out of the base's."""
        found: dict[str, Any] = {"control": None, "elements": None}
        if "dim" in shares:
            found["model.dim"] = max(1, round(self.dim * shares["dim"]))
        macs, rows = shares.get("macs", 1.0), shares.get("rows", 1.0)
        if macs == rows == 1.0:
            return {**self.policies[FULL], **found}
        own = self.base.training.sparsity
        if own is None or macs == 1.0:  # an adaptive policy has nothing to do at full width
            warmup = max(1, (self.rows or 100_000) // 10)
            found |= {"sparsity": None, "sparsity.policy": "static", "drift": None}
            if own is not None:
                warmup = int(own.parameters.get("warmup_rows", warmup))
                found["sparsity.window_rows"] = own.window_rows
            found["sparsity.parameters.warmup_rows"] = warmup
        found["sparsity.budget.macs"] = round(macs, 4)
        found["sparsity.budget.rows"] = None if rows == 1.0 else round(rows, 4)
        return found

    def grid(self, more: Mapping[str, dict[str, Any]]) -> Grid:
        """The full model and the ``more`` ones."""
        from stream_prune.cli.compare_config import Comparison, grid_of

        common: dict[str, Any] = {"registry": None}
        if self.rows is not None:
            common["stop_rows"] = self.rows
        for change in self.given:
            key, _, value = change.partition("=")
            import yaml

            common[key] = yaml.safe_load(value)
        comparison = Comparison(
            base=self.config,
            folder=self.folder,
            set=common,
            policies={FULL: self.policies[FULL], **more},
            seeds=self.seeds,
        )
        return grid_of(comparison, self.config, str(self.config))

    def run(self, sizes: Mapping[str, dict[str, Any]], console: Console) -> dict[str, Measured]:
        """How far each size's NE lies above the full model's.

        Raises:
            RunError: a replay failed.
        """
        from stream_prune.cli.compare import make_runs
        from stream_prune.comparison.results import compare
        from stream_prune.scaling.advice import Measured

        grid = self.grid(sizes)
        made, failed = make_runs(grid, self.jobs, console)
        if failed:
            told = "; ".join(f"{name}: {why}" for name, why in failed.items())
            raise RunError(f"replays failed: {told}")
        warmup = self.base.training.evaluation.warmup_rows
        found = {}
        for row in compare(made, FULL, grid.comparison.block, warmup):
            losses = tuple(ne for ne in row.figures["ne"] if ne is not None)
            if row.difference is None:
                self.full = losses
            else:
                found[row.cell.policy] = Measured(1.0, row.difference, losses)
        return found


def _measure(replays: _Replays, tolerance: float, console: Console) -> dict[str, list[Measured]]:
    """Every part's replays: each is halved until it surely costs too much."""
    from dataclasses import replace

    measured: dict[str, list[Measured]] = {axis: [] for axis in WORDS}
    alive = set(WORDS)
    for share in SHARES:
        sizes = {}
        for axis in sorted(alive):
            if axis == "dim" and replays.dim * share < 1:
                alive.discard(axis)
                continue
            name, changes = f"{axis} {share:.3g}", replays.changes({axis: share})
            try:
                _check(replays, name, changes)
            except ConfigError as error:
                console.print(f"{name}: left out: {error}", highlight=False, soft_wrap=True)
                alive.discard(axis)
                continue
            sizes[name] = changes
        if not sizes:
            break
        for name, found in replays.run(sizes, console).items():
            axis = name.split()[0]
            measured[axis].append(replace(found, share=share))
            if found.difference.low > FAR * tolerance:
                alive.discard(axis)
    return measured


def _check(replays: _Replays, name: str, changes: dict[str, Any]) -> None:
    """Raises ConfigError where a model of that size cannot be."""
    from stream_prune.cli.job import check_model

    every = replays.grid({name: changes}).every
    check_model(every[-1])


def _settings(changes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What of the changes makes the model smaller, as ``--set`` takes it."""
    kept = {k: v for k, v in changes.items() if k.startswith(("model.", "sparsity"))}
    return [(key, "null" if value is None else value) for key, value in kept.items()]


def _share(text: str) -> float:
    try:
        number = float(text.removesuffix("%").strip())
    except ValueError:
        number = 0.0
    share = number / 100 if text.endswith("%") else number
    if not 0 < share < 1:
        raise ConfigError(f"--tolerance {text}: must be a share above 0, such as 0.1% or 0.001")
    return share


def _percent(value: float) -> str:
    return f"{100 * value:+.2f} %"
