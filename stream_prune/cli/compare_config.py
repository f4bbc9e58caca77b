"""The file of a comparison: a base configuration and what is varied in it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from stream_prune.cli import config_errors, config_file
from stream_prune.cli.config import Config, load
from stream_prune.cli.events_config import Part
from stream_prune.comparison.results import Cell
from stream_prune.errors import ConfigError

DENSITY = "density"
"""Key of a budget that masks of single weights take; the others are those of sparsity.budget."""


def _named(value: object) -> object:
    """``name:`` alone, without anything to change, is a name too."""
    if not isinstance(value, Mapping):
        return value
    return {name: {} if changes is None else changes for name, changes in value.items()}


Changes = Annotated[dict[str, dict[str, Any]], BeforeValidator(_named)]
"""By name: values of dotted keys of the configuration, or nested mappings."""


_OWN: dict[str, dict[str, Any]] = {"": {}}
"""The base's own model, without a name."""


class Search(Part):
    """A search for every cell's learning rate, before the runs that are compared.

    Attributes:
        rates: multipliers of the cell's own ``optimizer.lr`` that are tried.
        seeds: of the tries; none of those that are compared.
    """

    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]


class Comparison(Part):
    """A grid of runs over one mini-batch log.

    Attributes:
        base: the configuration that all runs begin with, relative to this file: events, columns,
            windows, model.
        folder: where the log, the runs and the tables go.
        set: changes for all runs.
        models, policies: what is varied, by name. Without models there is the base's own.
        budgets: values of ``sparsity.budget``, by name; ``density`` is for masks of single weights.
            A policy without either is run once.
        seeds: of every cell of the grid.
        reference: the policy that the others are compared with; the first one by default.
        block: share of the windows that the bootstrap draws together.
        search: tries learning rates first, and compares every cell at the one with the least NE;
            None: each at its own.
        artifacts: write every run's artifact too, and tell its bytes.
    """

    base: Path
    folder: Path
    set: dict[str, Any] = Field(default_factory=dict)
    models: Changes = Field(default_factory=lambda: _OWN)
    policies: Annotated[Changes, Field(min_length=1)]
    budgets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    reference: str | None = None
    block: Annotated[float, Field(gt=0, le=0.5)] = 0.03
    search: Search | None = None
    artifacts: bool = False

    @property
    def against(self) -> str:
        """The reference policy."""
        return self.reference or next(iter(self.policies))


@dataclasses.dataclass(frozen=True)
class Grid:
    """A comparison with the configuration of every run: ``runs`` by cell, one per seed."""

    comparison: Comparison
    runs: Mapping[Cell, Sequence[Config]]

    def at(self, rates: Mapping[Cell, float]) -> Grid:
        """The same runs, each cell's learning rate times so much."""
        return Grid(
            self.comparison,
            {
                cell: [_with_rate(job, rates.get(cell, 1.0)) for job in jobs]
                for cell, jobs in self.runs.items()
            },
        )

    def tries(self, search: Search) -> dict[tuple[Cell, float], Sequence[Config]]:
        """The runs of a search by cell and rate, in a folder of their own, over the same log."""
        folder = self.comparison.folder
        return {
            (cell, rate): [_try(jobs[0], rate, seed, folder) for seed in search.seeds]
            for cell, jobs in self.runs.items()
            for rate in search.rates
        }

    @property
    def every(self) -> list[Config]:
        return [job for jobs in self.runs.values() for job in jobs]


def load_grid(path: Path, changes: Sequence[str] = ()) -> Grid:
    """Read and check the file of a comparison, and the configuration of every run in it.

    Raises:
        ConfigError: naming the file, the key, and of a run's fault the cell.
    """
    values = config_file.read(path, changes)
    try:
        comparison = Comparison.model_validate(values)
    except ValidationError as error:
        raise ConfigError(config_errors.describe(error, Comparison, values, str(path))) from None
    if comparison.against not in comparison.policies:
        raise ConfigError(
            f"{path}: reference = {comparison.reference!r}: must be one of the policies: "
            f"{', '.join(comparison.policies)}"
        )
    if len(set(comparison.seeds)) < len(comparison.seeds):
        raise ConfigError(f"{path}: seeds = {list(comparison.seeds)}: one occurs twice")
    search = comparison.search
    if search is not None and set(search.seeds) & set(comparison.seeds):
        raise ConfigError(
            f"{path}: search.seeds = {list(search.seeds)}: must have none of seeds = "
            f"{list(comparison.seeds)}, or a rate is judged where it was chosen"
        )
    return grid_of(comparison, path.parent / comparison.base, str(path))


def grid_of(comparison: Comparison, base: Path, place: str) -> Grid:
    """The configuration of every run of a comparison.

    Args:
        comparison: what is varied.
        base: the file of the configuration that all runs begin with.
        place: named in errors.

    Raises:
        ConfigError: a cell's configuration has a fault.
    """
    runs: dict[Cell, list[Config]] = {}
    folders: dict[Path, Cell] = {}
    for cell, changed in _cells(comparison, base):
        try:
            runs[cell] = [_job(comparison, base, cell, changed, seed) for seed in comparison.seeds]
        except ConfigError as error:
            raise ConfigError(f"{place}: {cell}: {error}") from None
        folder = runs[cell][0].training.run
        if folder in folders:
            raise ConfigError(f"{place}: {cell} and {folders[folder]} would share {folder}")
        folders[folder] = cell
    return Grid(comparison, runs)


def _cells(comparison: Comparison, base: Path) -> Iterator[tuple[Cell, list[str]]]:
    """Every cell with its changes, as ``key=value``; a policy without a budget occurs once."""
    common = _changes(comparison.set)
    for (model, sizes), (policy, how) in itertools.product(
        comparison.models.items(), comparison.policies.items()
    ):
        changed = [*common, *_changes(sizes), *_changes(how)]
        values = config_file.read(base, changed)
        masks, units = values.get("elements"), values.get("sparsity")
        if not comparison.budgets or not (masks or units):
            yield Cell(model, policy, ""), changed
            continue
        for name, budget in comparison.budgets.items():
            limits = {key: value for key, value in budget.items() if key != DENSITY}
            if masks and DENSITY not in budget:
                raise ConfigError(
                    f"budgets.{name}: {policy} masks single weights: say how many with "
                    f"{DENSITY}: 0.2"
                )
            own = {"elements.density": budget[DENSITY]} if masks else {"sparsity.budget": limits}
            yield Cell(model, policy, name), [*changed, *_changes(own)]


def _job(
    comparison: Comparison, base: Path, cell: Cell, changed: Sequence[str], seed: int
) -> Config:
    folder = comparison.folder
    own = {
        "run": str(folder / "runs" / f"{_slug(str(cell))}-{seed}"),
        "log": str(folder / "log"),
        "seed": seed,
        "follow": False,
    }
    job = load(base, [*changed, *_changes(own)])
    if job.registry is None:
        return job
    # An experiment of its own, so that its runs' names are its own too.
    registry = dataclasses.replace(
        job.registry, experiment=f"{job.registry.experiment}-{folder.name}"
    )
    return job.model_copy(update={"registry": registry})


def _with_rate(job: Config, rate: float) -> Config:
    """A run at its learning rate times so much; the rows keep theirs."""
    optimizer = job.training.optimizer
    optimizer = dataclasses.replace(optimizer, lr=float(f"{optimizer.lr * rate:.6g}"))
    return _changed(job, optimizer=optimizer)


def _try(job: Config, rate: float, seed: int, folder: Path) -> Config:
    own = job.training.run.name.removesuffix(f"-{job.training.seed}")
    run = folder / "search" / f"{own}-x{rate:g}-{seed}"
    return _changed(_with_rate(job, rate), run=run, seed=seed)


def _changed(job: Config, **values: Any) -> Config:
    return job.model_copy(update={"training": dataclasses.replace(job.training, **values)})


def _changes(values: Mapping[str, Any]) -> list[str]:
    """As ``--set`` takes them; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower().replace("%", "pc")).strip("-") or "run"
