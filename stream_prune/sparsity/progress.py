"""How far a controller is: what it has seen, its policy's state, the units' last known scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from stream_prune.errors import ConfigError
from stream_prune.sparsity.groups import Group
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.plan import Plan
from stream_prune.sparsity.policies.policy import Policy
from stream_prune.sparsity.standing import UNPRUNED
from stream_prune.stateful import State


class Progress:
    """What the controller's decisions hang on, besides the live model.

    Args:
        policy: whose state is kept.
        macs: the budget's share of the full model's MACs.
        groups: what can be pruned.
        seed: of what is drawn at random.

    Attributes:
        rows: examples seen.
        window_rows: examples since the policy's last look.
        policy_state: numbers that only the policy reads.
        scores: importance of each unit of each group, in full coordinates.
        standing: why the live plan stands where it does, in words (see :mod:`.standing`).
    """

    def __init__(
        self, policy: Policy[Any], macs: float, groups: Sequence[Group], seed: int = 0
    ) -> None:
        self._policy = type(policy).__name__
        self.seed, self.rows, self.window_rows = seed, 0, 0
        self.policy_state = policy.initial(macs)
        self.standing = UNPRUNED
        self.scores = {group.name: torch.ones(group.units, dtype=torch.float64) for group in groups}

    def remember(self, scores: Mapping[str, Tensor], plan: Plan) -> None:
        """Scores of the plan's units; removed ones keep what they were last known for."""
        for name, values in scores.items():
            self.scores[name][list(plan.units[name])] = values

    def state_dict(self) -> State:
        scores = {name: values.clone() for name, values in self.scores.items()}
        return {
            "policy": self._policy,
            "seed": self.seed,
            "rows": self.rows,
            "window_rows": self.window_rows,
            "standing": self.standing,
            **nested("policy", self.policy_state._asdict()),
            **nested("scores", scores),
        }

    def load_state_dict(self, state: State) -> None:
        """Take up where ``state`` was saved; other keys in it are left alone.

        Raises:
            ConfigError: the state belongs to another policy.
        """
        if state["policy"] != self._policy:
            raise ConfigError(
                f"saved controller: its policy is {state['policy']!r}, not {self._policy}"
            )
        counters: dict[str, Any] = dict(state)
        self.seed, self.rows = int(counters["seed"]), int(counters["rows"])
        self.window_rows = int(counters["window_rows"])
        self.standing = str(state["standing"])
        self.policy_state = type(self.policy_state)(**part_of(state, "policy"))
        self.scores = {name: values.clone() for name, values in part_of(state, "scores").items()}
