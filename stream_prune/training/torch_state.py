"""State of torch's own objects as plain values: a module, an optimizer, the random generators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from stream_prune.errors import RunError
from stream_prune.stateful import State


class ModuleState:
    """A module's parameters and buffers."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def state_dict(self) -> State:
        return dict(self._module.state_dict())

    def load_state_dict(self, state: State) -> None:
        """Raises RunError where names or shapes are not the module's."""
        try:
            self._module.load_state_dict(state)
        except RuntimeError as error:
            raise RunError(f"the checkpoint does not fit the model: {error}") from error


class OptimizerState:
    """An optimizer's state per parameter, as ``<parameter number>/<name>``.

    Hyperparameters come from the configuration and are not kept.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer

    def _parameters(self) -> list[tuple[dict[str, Any], Tensor]]:
        """Every parameter with its group."""
        groups = self._optimizer.param_groups
        return [(group, parameter) for group in groups for parameter in group["params"]]

    def state_dict(self) -> State:
        return {
            f"{number}/{name}": value
            for number, (_, parameter) in enumerate(self._parameters())
            for name, value in self._optimizer.state.get(parameter, {}).items()
        }

    def load_state_dict(self, state: State) -> None:
        """Put every value in place, on the device where torch keeps it."""
        parameters = self._parameters()
        self._optimizer.state.clear()
        for key, value in state.items():
            number, name = key.split("/", 1)
            group, parameter = parameters[int(number)]
            if isinstance(value, Tensor):
                # Step counters stay on the CPU unless a kernel on the device reads them.
                on_device = value.dim() or group.get("fused") or group.get("capturable")
                value = value.clone().to(parameter.device if on_device else "cpu")
            self._optimizer.state[parameter][name] = value


class RandomState:
    """The generators of the CPU and of the current CUDA device, if it is in use."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def state_dict(self) -> State:
        state: State = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self._device)
        return state

    def load_state_dict(self, state: State) -> None:
        cpu = state["cpu"]
        assert isinstance(cpu, Tensor)
        torch.set_rng_state(cpu)
        if self._device.type == "cuda":
            cuda = state["cuda"]
            assert isinstance(cuda, Tensor)
            torch.cuda.set_rng_state(cuda, self._device)
