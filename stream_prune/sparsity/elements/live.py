"""The masked parameters of a model in training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import ConfigError, RunError
from stream_prune.sparsity.draw import generator
from stream_prune.sparsity.elements.bitmask import from_bits, to_bits
from stream_prune.sparsity.elements.densities import Spread, kept_weights
from stream_prune.sparsity.elements.masks import Masks
from stream_prune.sparsity.elements.pattern import draw, rewire
from stream_prune.sparsity.nested_state import nested, part_of
from stream_prune.sparsity.policies.policy import Rewire
from stream_prune.stateful import State


class LiveElements:
    """Masks kept by hooks of the optimizer's step, and moved in between.

    Args:
        params: what is masked, by name; removed weights are set to zero at once, and those that
            are kept scaled up to what the initialisation meant a layer's output to spread.
        optimizer: trains it.
        density: kept share of all the weights.
        spread: how the kept weights are spread over the tensors.
        seed: of everything drawn.

    Attributes:
        sizes: weights per tensor.
        rewirings: how often masks were moved.
        trained: an optimizer step was taken since the flag was taken back.
        scoring: gradients of the coming optimizer steps are to be kept for growing.
    """

    def __init__(
        self,
        params: Mapping[str, nn.Parameter],
        optimizer: Optimizer,
        *,
        density: float,
        spread: Spread,
        seed: int,
    ) -> None:
        self._params, self._optimizer, self._seed = dict(params), optimizer, seed
        self.sizes = {name: param.numel() for name, param in params.items()}
        self.rewirings = 0
        self.trained = self.scoring = False
        self._gradients: dict[str, Tensor] = {}
        shapes = {name: tuple(param.shape) for name, param in params.items()}
        counts = kept_weights(shapes, density, spread)
        drawn = {
            name: draw(shape, counts[name], self._generator("mask", name))
            for name, shape in shapes.items()
        }
        self.masks = Masks(params, drawn)
        self._begin()
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)

    @torch.no_grad()
    def _begin(self) -> None:
        """Freshly initialised weights under their first mask.

        A layer with k of its n weights has sqrt(k / n) of its output's spread, and so has every
        layer after it anew: the kept weights of matrices are multiplied by sqrt(n / k). The
        project's own; on the flights of configs/elements/rigl.yaml it took 1 % off the NE.
        """
        self.masks.apply_to_weights()
        for name, param in self._params.items():
            if param.dim() > 1:
                param.mul_(math.sqrt(self.sizes[name] / self.masks.counts[name]))

    @property
    def removed(self) -> int:
        """Weights that are held at zero."""
        return sum(self.sizes.values()) - sum(self.masks.counts.values())

    @property
    def density(self) -> float:
        """Kept weights over all weights."""
        return sum(self.masks.counts.values()) / sum(self.sizes.values())

    @torch.no_grad()
    def rewire(self, decision: Rewire) -> dict[str, int]:
        """Move every mask; everything is checked before anything changes.

        A tensor without a gradient to grow by (it took no part in the batch) is left as it is.

        Returns:
            How many weights moved, per tensor.

        Raises:
            RunError: weights or gradients are not finite, or the optimizer's state cannot follow.
        """
        self.rewirings += 1
        changes = {}
        for name, param in self._params.items():
            growth = self._growth(decision, name, param)
            if growth is None:
                continue
            if not (bool(torch.isfinite(param).all()) and bool(torch.isfinite(growth).all())):
                raise RunError(
                    f"parameter {name!r}: weights or gradients are not finite when they are to be "
                    "rewired; lower the learning rate or go back to an earlier checkpoint"
                )
            self.masks.check(name, self._optimizer)
            kept = self.masks.kept(name)
            changes[name] = kept, rewire(param, kept, decision.fraction, growth)
        self._gradients.clear()
        for name, (_, rewired) in changes.items():
            self.masks.renew(name, rewired.survivors, self._optimizer)
            self.masks.put(name, rewired.mask)
        return {name: int((new.mask & ~kept).sum()) for name, (kept, new) in changes.items()}

    def _growth(self, decision: Rewire, name: str, param: Tensor) -> Tensor | None:
        if decision.grow == "random":
            drawn = torch.rand(param.shape, generator=self._generator("grow", name))
            return drawn.to(param.device, param.dtype)
        gradient = self._gradients.get(name)
        return None if gradient is None else gradient.abs()

    @torch.no_grad()
    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if kwargs.get("closure") is not None or any(callable(value) for value in args[1:]):
            raise RunError(
                f"optimizer {type(optimizer).__name__}: step() was given a closure, and what it "
                "computes cannot be masked: run forward and backward before step()"
            )
        if self.scoring:
            self._keep_gradients()
        self.masks.apply_to_gradients()

    def _keep_gradients(self) -> None:
        for name, param in self._params.items():
            if param.grad is None or param.grad.layout != torch.strided:
                continue  # the masks will have a word on sparse ones
            if name in self._gradients:
                self._gradients[name] += param.grad
            else:
                self._gradients[name] = param.grad.clone()

    def _after_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        del optimizer, args, kwargs
        self.masks.apply_to_weights()
        # A step without any gradient (they were dropped) is none.
        self.trained |= any(param.grad is not None for param in self._params.values())

    def _generator(self, purpose: str, name: str) -> torch.Generator:
        """One of its own for everything drawn."""
        return generator(f"{self._seed}/{purpose}/{self.rewirings}/{name}")

    def state_dict(self) -> State:
        return {
            "shapes": self._shapes(),
            "seed": self._seed,
            "rewirings": self.rewirings,
            "trained": int(self.trained),
            **nested("mask", {name: to_bits(self.masks.kept(name)) for name in self._params}),
            **nested("gradient", {name: g.clone() for name, g in self._gradients.items()}),
        }

    def load_state_dict(self, state: State) -> None:
        """Masks and counters; the weights come with the model's state.

        Raises:
            ConfigError: the state belongs to another model.
        """
        if state["shapes"] != self._shapes():
            raise ConfigError(
                f"saved controller: it masks {state['shapes']!r}, this one {self._shapes()!r}; "
                "resume with the model and `params` it was made with"
            )
        for name, bits in part_of(state, "mask").items():
            self.masks.put(name, from_bits(bits, self._params[name].shape))
        self._gradients = {
            name: gradient.clone().to(self._params[name].device)
            for name, gradient in part_of(state, "gradient").items()
        }
        numbers: dict[str, Any] = dict(state)
        self._seed, self.rewirings = int(numbers["seed"]), int(numbers["rewirings"])
        self.trained = bool(numbers["trained"])

    def _shapes(self) -> str:
        return json.dumps({name: list(param.shape) for name, param in self._params.items()})
