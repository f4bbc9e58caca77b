"""Everything of a run that decides what happens next, as it is before the first window."""

from __future__ import annotations

from stream_prune.evaluation.prequential import Prequential
from stream_prune.evaluation.served import Served
from stream_prune.minibatch.log import MiniBatchLog
from stream_prune.stateful import Stateful
from stream_prune.training.build import build, build_control
from stream_prune.training.config import TrainingConfig
from stream_prune.training.cursors import Cursors
from stream_prune.training.progress import Progress
from stream_prune.training.setbacks import Setbacks
from stream_prune.training.slices import Slices
from stream_prune.training.torch_state import ModuleState, OptimizerState, RandomState


class RunState:
    """The model, what judges it, and how far the run is.

    Args:
        config: of the run.
        log: that it is trained on.

    Raises:
        ConfigError: the configuration does not go with the log's features.
    """

    def __init__(self, config: TrainingConfig, log: MiniBatchLog) -> None:
        self.learner = build(config, log.spec)
        control = build_control(config, log.spec, self.learner)
        if control is not None:
            self.learner.companion = control
        evaluation = config.evaluation
        judged = evaluation.sliding_rows, evaluation.every_windows, evaluation.warmup_rows
        self.prequential = Prequential(*judged)
        self.served = None if log.spec.served_score is None else Served(*judged)
        self.slices = Slices(evaluation.slices, log.spec)
        self.cursors = Cursors(log, compared=self.learner.companion is not None)
        self.progress = Progress(
            full_rows=self.learner.full_rows, warmup_rows=evaluation.warmup_rows
        )
        if config.sparsity is not None:
            self.progress.whole_below = config.sparsity.budget.whole_tables_below
        self.setbacks = Setbacks()

    def parts(self) -> dict[str, Stateful]:
        """What a checkpoint holds of it, in the order in which it is restored."""
        learner, companion = self.learner, self.learner.companion
        controller = {} if learner.controller is None else {"controller": learner.controller}
        return {
            **controller,
            "head": ModuleState(learner.head),
            "optimizer": OptimizerState(learner.optimizer),
            "tables": ModuleState(learner.tables),
            **learner.guards(),
            **({} if companion is None else companion.parts()),
            "evaluation": self.prequential,
            **({} if self.served is None else {"served": self.served}),
            "slices": self.slices.figures,
            "cursors": self.cursors,
            "random": RandomState(learner.device),
            "progress": self.progress,
            "setbacks": self.setbacks,
        }
