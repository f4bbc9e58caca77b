"""From a configuration, a feature specification and a seed to a model ready to learn."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, Optimizer

from stream_prune.drift.monitor import DriftMonitor
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.tables import EmbeddingTables
from stream_prune.embedding.widths import Tables, TablesOfWidths, check_widths
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec
from stream_prune.sparsity.controller import SparsityController
from stream_prune.sparsity.cost import dense_cost
from stream_prune.sparsity.elements.controller import ElementController
from stream_prune.sparsity.example import Example
from stream_prune.sparsity.finite import FiniteSteps
from stream_prune.sparsity.twin import DerivingPolicy, Twin
from stream_prune.training.config import OptimizerConfig, TrainingConfig
from stream_prune.training.control import Control, control_model, same_rows
from stream_prune.training.learner import Controller, Learner
from stream_prune.training.model_config import ModelConfig
from stream_prune.training.shadow import Shadow

EXAMPLE_ROWS = 8
MAX_DROPPED_STEPS = 10
"""Steps in a row that a model without a controller may drop before it counts as diverged."""


def resolve_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: CUDA is asked for, and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device = 'cuda': this machine has no CUDA device: use cpu or auto")
    use_cuda = name == "cuda" or (name == "auto" and torch.cuda.is_available())
    return torch.device("cuda" if use_cuda else "cpu")


def part_seed(seed: int, part: str) -> int:
    """A seed of its own for a part, so that no part's numbers depend on which others exist."""
    digest = hashlib.sha256(f"{seed}/{part}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def table_configs(config: TrainingConfig, spec: FeatureSpec) -> list[TableConfig]:
    """The full-size tables, one per categorical column.

    Raises:
        ConfigError: a capacity for a column that does not exist.
    """
    columns = [column.name for column in spec.categorical]
    settings = config.tables
    for key, named in (("capacity", settings.capacity), ("combines", settings.combines)):
        for name in named.keys() - set(columns):
            raise ConfigError(
                f"tables.{key}.{name}: no such categorical column; there are: {', '.join(columns)}"
            )
    check_widths(columns, config.model.dim, settings.dims, settings.backend)
    return [
        TableConfig(
            name=name,
            capacity=settings.capacity.get(name, settings.default_capacity),
            follow=settings.follow,
            admission=settings.admission,
            half_life=settings.half_life,
            half_lives=settings.half_lives,
            hysteresis=settings.hysteresis,
            cold_share=settings.cold_share,
            waiting=settings.waiting,
            most_values=settings.most_values,
            combine=settings.combines.get(name, settings.combine),
        )
        for name in columns
    ]


def build(config: TrainingConfig, spec: FeatureSpec) -> Learner:
    """Everything at full size and freshly initialised; equal arguments give equal bits.

    A policy that derives gets its shadow as the learner's companion; the control, which nothing
    but the comparison needs, comes from :func:`build_control`.

    To resume, load the states in this order: controller (it applies its plan), head, optimizer,
    tables.
    """
    device = resolve_device(config.device)
    head = _head(config, spec).to(device).eval()  # learning is what puts it into training mode
    tables = _tables(config, spec, device)
    parameters = [*head.parameters(), *tables.parameters()]  # rows are none of them
    optimizer = _optimizer(config.optimizer, parameters, device)
    example = _example(config, spec, device)
    cost = dense_cost(head, Example(example))
    shadow = _shadow(config, spec, tables, device, example)
    twin = None if shadow is None else shadow.twin
    monitor = None if config.drift is None else config.drift.build_monitor()
    controller = _controller(config, head, optimizer, tables, example, twin, monitor)
    if shadow is not None and isinstance(controller, SparsityController):
        units = controller
        shadow.soft_weight = lambda: units.soft_weight
    full = {table.name: table.capacity for table in table_configs(config, spec)}
    return Learner(
        tables=tables,
        head=head,
        optimizer=optimizer,
        controller=controller,
        device=device,
        dense_cost=cost,
        full_rows=full,
        lr=config.optimizer.lr,
        rows_lr=config.optimizer.rows_lr,
        guard=FiniteSteps(head, optimizer, MAX_DROPPED_STEPS) if controller is None else None,
        companion=shadow,
        bfloat16=config.precision == "bfloat16",
        monitor=monitor if monitor is not None and (monitor.inputs or monitor.residuals) else None,
    )


def build_control(config: TrainingConfig, spec: FeatureSpec, deployed: Learner) -> Control | None:
    """The small dense model that the configuration asks for, with the deployed one's row counts.

    Raises:
        ConfigError: no widths meet the budget.
    """
    control, sparsity = config.control, config.sparsity
    if control is None or sparsity is None:
        return None

    def macs(model: ModelConfig) -> int:
        sized = replace(config, model=model)
        with torch.device("meta"):
            head = _head(sized, spec)
        example = _example(sized, spec, torch.device("meta"))
        return dense_cost(head, Example(example)).macs_inference

    small = replace(
        config,
        model=control_model(config.model, control, sparsity.budget, macs),
        optimizer=replace(
            config.optimizer,
            lr=control.lr,
            rows_lr=config.optimizer.rows_lr if control.rows_lr is None else control.rows_lr,
        ),
        sparsity=None,
        drift=None,
        control=None,
    )
    learner = build(small, spec)
    same_rows(learner.tables, deployed.tables)
    return Control(learner)


def _head(config: TrainingConfig, spec: FeatureSpec) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(part_seed(config.seed, "head"))
        return config.model.build_head(len(spec.dense), len(spec.categorical))


def _tables(config: TrainingConfig, spec: FeatureSpec, device: torch.device) -> Tables:
    given: dict[str, Any] = {"eps": config.optimizer.eps, "init_std": config.tables.init_std}
    given = {
        "lr": config.optimizer.rows_lr,
        "seed": part_seed(config.seed, "tables"),
        "device": device,
        "backend": config.tables.backend,
        **{name: value for name, value in given.items() if value is not None},
    }
    tables, dim, dims = table_configs(config, spec), config.model.dim, config.tables.dims
    if any(width != dim for width in dims.values()):
        return TablesOfWidths(tables, dim, dims, **given)
    return EmbeddingTables(tables, dim, **given)


def _optimizer(
    config: OptimizerConfig, parameters: list[nn.Parameter], device: torch.device
) -> Optimizer:
    kind: type[Adam] | type[Adagrad] = Adam if config.name == "adam" else Adagrad
    # One kernel for the whole update, which costs a small model as much as the forward otherwise;
    # Adagrad has one on the CPU only.
    fused = config.name == "adam" or device.type == "cpu"
    settings: dict[str, Any] = {"lr": config.lr, "fused": fused}
    if config.eps is not None:
        settings["eps"] = config.eps
    return kind(parameters, **settings)


def _example(
    config: TrainingConfig, spec: FeatureSpec, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Inputs of the head: dense [8, N], and embeddings [8, F, D] that are trained."""
    generator = torch.Generator().manual_seed(part_seed(config.seed, "example"))
    dense = torch.randn(EXAMPLE_ROWS, len(spec.dense), generator=generator)
    shape = (EXAMPLE_ROWS, len(spec.categorical), config.model.dim)
    rows = torch.randn(shape, generator=generator)
    return dense.to(device), rows.to(device).requires_grad_()


def _controller(
    config: TrainingConfig,
    head: nn.Module,
    optimizer: Optimizer,
    tables: Tables,
    example: tuple[Tensor, Tensor],
    twin: Twin | None,
    monitor: DriftMonitor | None,
) -> Controller | None:
    sparsity, elements = config.sparsity, config.elements
    if elements is not None:
        return ElementController(
            head,
            optimizer,
            policy=elements.build_policy(),
            density=elements.density,
            example=example,
            seed=part_seed(config.seed, "elements"),
        )
    if sparsity is None:
        return None
    return SparsityController(
        head,
        optimizer,
        policy=sparsity.build_policy(),
        budget=sparsity.budget,
        example=example,
        drift=monitor,
        criterion=sparsity.find_criterion(),
        tables=tables.tables,
        window_rows=sparsity.window_rows,
        guardrail=sparsity.guardrail,
        seed=part_seed(config.seed, "units"),
        twin=twin,
    )


def _shadow(
    config: TrainingConfig,
    spec: FeatureSpec,
    tables: Tables,
    device: torch.device,
    example: tuple[Tensor, Tensor],
) -> Shadow | None:
    """The dense head that the policy derives the deployed one from; it starts from equal bits."""
    if config.sparsity is None or not isinstance(config.sparsity.build_policy(), DerivingPolicy):
        return None
    head = _head(config, spec).to(device).eval()
    optimizer = _optimizer(config.optimizer, list(head.parameters()), device)
    guard = FiniteSteps(head, optimizer, MAX_DROPPED_STEPS)
    dense, rows = example
    cost = dense_cost(head, Example((dense, rows.detach())))  # it trains no rows
    return Shadow(Twin(head, optimizer), guard, tables, device, cost, config.optimizer.lr)
