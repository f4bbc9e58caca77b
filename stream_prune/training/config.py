"""What a training run is told: frozen dataclasses that check their own ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stream_prune.embedding.config import BACK_ENDS, COMBINES, TableConfig
from stream_prune.errors import ConfigError
from stream_prune.minibatch.place import LogPlace
from stream_prune.training.behind import BehindConfig
from stream_prune.training.control_config import ControlConfig
from stream_prune.training.dataclass_reader import plain, read
from stream_prune.training.drift_config import DriftConfig
from stream_prune.training.elements_config import ElementsConfig
from stream_prune.training.model_config import ModelConfig
from stream_prune.training.ranges import at_least, one_of, positive
from stream_prune.training.sparsity_config import SparsityConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """The dense part's optimizer, and the rate of the tables' row-wise Adagrad.

    Attributes:
        name: adam or adagrad.
        lr: learning rate of the dense part.
        rows_lr: learning rate of the embedding rows.
        eps: added to the denominators of both; None: each one's own default.
    """

    name: str = "adam"
    lr: float = 1e-3
    rows_lr: float = 0.05
    eps: float | None = None

    def __post_init__(self) -> None:
        one_of(("adam", "adagrad"), name=self.name)
        positive(lr=self.lr, rows_lr=self.rows_lr, eps=self.eps)


@dataclass(frozen=True)
class TablesConfig:
    """The embedding tables: rows per table, and how row sets follow the stream.

    Attributes:
        default_capacity: rows of a table that ``capacity`` does not name.
        capacity: rows by column.
        follow: the row set follows the stream; else the first ids that fit have the rows.
        admission: how often an id must have been seen to get a row.
        half_life: rows after which a look-up counts half.
        half_lives: ascending; ghost caches choose among them, table by table, what ``half_life`` is
            from then on, and a drift alarm shortens it. Empty: it stays.
        hysteresis: how many times more often a new id must have been seen than the one it replaces.
        cold_share: share of a table's rows that ids without a row of their own share by hash.
        waiting: rows in which evicted ids keep what they learned, as a share of a table's.
        most_values: of a longer bag only so many values count, the last ones; None: all.
            The look-ups that a run reports are of all values.
        combine: mean or sum: how the vectors of a bag become one.
        combines: the same by column, for columns that differ.
        dims: width of the rows by column, for columns whose rows are narrower than ``model.dim``;
            a learned projection brings them to it.
        backend: flat, or fbgemm (the extra of that name).
        init_std: standard deviation of the initial weights; None: the tables' own default.
    """

    default_capacity: int = 10_000
    capacity: Mapping[str, int] = field(default_factory=dict)
    follow: bool = True
    admission: int = 2
    half_life: float = 20_000.0
    half_lives: tuple[float, ...] = ()
    hysteresis: float = 1.2
    cold_share: float = 0.0
    waiting: float = 0.0
    most_values: int | None = None
    combine: str = "mean"
    combines: Mapping[str, str] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)
    backend: str = "flat"
    init_std: float | None = None

    def __post_init__(self) -> None:
        at_least(0, default_capacity=self.default_capacity)
        at_least(0, **{f"capacity.{column}": rows for column, rows in self.capacity.items()})
        at_least(1, **{f"dims.{column}": width for column, width in self.dims.items()})
        at_least(1, admission=self.admission, half_life=self.half_life, hysteresis=self.hysteresis)
        at_least(0, cold_share=self.cold_share, waiting=self.waiting)
        one_of(BACK_ENDS, backend=self.backend)
        one_of(COMBINES, combine=self.combine)
        for column, combine in self.combines.items():
            one_of(COMBINES, **{f"combines.{column}": combine})
        positive(init_std=self.init_std, most_values=self.most_values)
        try:
            TableConfig("every column", 0, half_lives=self.half_lives, cold_share=self.cold_share)
        except ValueError as error:
            raise ConfigError(str(error)) from None


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints of a run; there is one at its end in any case.

    Attributes:
        every_windows: learned windows from one to the next.
        keep: how many are kept.
    """

    every_windows: int = 50
    keep: int = 2

    def __post_init__(self) -> None:
        at_least(1, every_windows=self.every_windows, keep=self.keep)


@dataclass(frozen=True)
class EvaluationConfig:
    """Figures.

    Attributes:
        sliding_rows: examples in the sliding window of the exact AUC.
        every_windows: the costly lines (sliding AUC, churn of rows) come at every so many windows.
        warmup_rows: labelled rows that figures named ``after_warmup`` leave out.
        slices: categorical columns whose categories get figures of their own, each with the
            categories that are told apart; none of them: the first ones that come.
    """

    sliding_rows: int = 50_000
    every_windows: int = 20
    warmup_rows: int = 0
    slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at_least(2, sliding_rows=self.sliding_rows)
        at_least(1, every_windows=self.every_windows)
        at_least(0, warmup_rows=self.warmup_rows)


@dataclass(frozen=True)
class TrainingConfig:
    """A training run: where, on what, and how.

    Attributes:
        run: the run folder.
        log: the mini-batch log: a folder, ``kafka://host:port/topic``, or a mapping with servers,
            topic and settings.
        seed: of everything random.
        threads: of torch; results are bit-identical for equal numbers.
        device: auto, cpu or cuda.
        precision: float32, or bfloat16: matrix products of the head are taken in bfloat16, which is
            faster where the processor has it; weights, losses and updates stay float32.
        follow: tail the log until it ends, instead of ending with what is there.
        learn_rows: labelled rows after which nothing is learned any more: the model is frozen, and
            still scored and evaluated; None: it learns to the end.
        stop_rows: scored rows after which the run ends; None: with the log.
        sparsity: units and rows that are removed while training; None: none.
        elements: masks on single weights; None: none.
        drift: None feeds the policy no alarms.
        control: a small dense model trained beside, to say whether it would do as well; None: none.
        behind: what it does when it can't keep up with a log that it follows; None: nothing.
    """

    run: Path
    log: LogPlace
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    precision: str = "float32"
    follow: bool = False
    learn_rows: int | None = None
    stop_rows: int | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = OptimizerConfig()
    tables: TablesConfig = field(default_factory=TablesConfig)
    sparsity: SparsityConfig | None = None
    elements: ElementsConfig | None = None
    drift: DriftConfig | None = None
    control: ControlConfig | None = None
    behind: BehindConfig | None = None
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed)
        at_least(1, threads=self.threads)
        positive(learn_rows=self.learn_rows, stop_rows=self.stop_rows)
        one_of(("auto", "cpu", "cuda"), device=self.device)
        one_of(("float32", "bfloat16"), precision=self.precision)
        if self.elements is not None and self.sparsity is not None:
            raise ConfigError("elements: go without `sparsity`: a model is compacted or masked")
        for column, width in self.tables.dims.items():
            if width > self.model.dim:
                raise ConfigError(
                    f"tables.dims.{column} = {width}: must be at most model.dim, {self.model.dim}"
                )
        policy = None if self.sparsity is None else self.sparsity.policy
        if policy == "rate_on_drift" and self.drift is None:
            raise ConfigError("sparsity.policy = 'rate_on_drift': acts on alarms: add `drift`")
        split = "" if self.sparsity is None else self.sparsity.budget.split
        if split == "coverage" and not self.tables.half_lives:
            raise ConfigError(
                "sparsity.budget.split = 'coverage': only tables that learn their half-life know "
                "their coverage: add `tables.half_lives`"
            )
        if self.behind is not None and self.behind.replay is None and not self.follow:
            raise ConfigError("behind: only a log that is followed is lost: add `follow: true`")
        if self.control is not None:
            self._check_control()
        if self.drift is not None and self.sparsity is None:
            raise ConfigError("drift: there is no sparsity policy to act on alarms: add `sparsity`")

    def _check_control(self) -> None:
        if self.sparsity is None:
            raise ConfigError(
                "control: there is no budget that it could have the size of: add `sparsity`"
            )
        if self.sparsity.policy == "ads_shadow":
            raise ConfigError(
                "control: goes without the policy ads_shadow, whose shadow is what the deployed "
                "model is compared with"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """From plain values; nested mappings for the parts.

        Raises:
            ConfigError: with the dotted path of the key, its value, and what is allowed.

        >>> TrainingConfig.from_dict({"run": "r", "log": "l", "optimizer": {"lr": 0}})
        Traceback (most recent call last):
        ...
        stream_prune.errors.ConfigError: optimizer.lr = 0.0: must be greater than 0
        """
        return read(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the inverse of :meth:`from_dict`."""
        values: dict[str, Any] = plain(self)
        return values


RESULT_FREE = frozenset({"run", "log", "follow", "checkpoint"})
"""Keys that change nothing in the results; a run may be resumed with others."""
