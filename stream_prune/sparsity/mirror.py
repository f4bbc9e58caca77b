"""The mirror: the last known value of everything that is not alive at the moment."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from stream_prune.sparsity.layout import Kept, gather, scatter


class Store(Protocol):
    """Where surgery leaves what is alive, and takes from what a new plan keeps."""

    def put(self, key: str, shape: tuple[int, ...], kept: Kept, live: Tensor) -> None: ...

    def take(self, key: str, kept: Kept, device: torch.device) -> Tensor: ...


class Mirror:
    """One host tensor of full shape per prunable tensor and per optimizer state of it.

    ``put`` scatters the live part into it, ``take`` gathers the part of another plan out of it, so
    that shrinking and restoring is bit-exact by construction (what :mod:`.rescale` multiplies is
    divided again before it comes here: exact to float rounding). Entries that never were alive hold
    zero (an optimizer state that appears while its parameter is narrow).
    """

    def __init__(self) -> None:
        self._full: dict[str, Tensor] = {}

    def put(self, key: str, shape: tuple[int, ...], kept: Kept, live: Tensor) -> None:
        """Remember the live part of ``key``.

        Args:
            key: name of the tensor or of its optimizer state.
            shape: its full shape.
            kept: where ``live`` lies in it.
            live: the live values, on any device.
        """
        full = self._full.get(key)
        if full is None or full.dtype != live.dtype:
            full = torch.zeros(shape, dtype=live.dtype)
            self._full[key] = full
        scatter(full, kept, live.detach())

    def take(self, key: str, kept: Kept, device: torch.device) -> Tensor:
        """The part of ``key`` that another plan keeps, as a new tensor on ``device``."""
        return gather(self._full[key], kept).to(device)

    @property
    def nbytes(self) -> int:
        """Host memory held, in bytes."""
        return sum(full.numel() * full.element_size() for full in self._full.values())

    def state_dict(self) -> dict[str, Tensor]:
        return {key: full.clone() for key, full in self._full.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._full = {key: full.clone() for key, full in state.items()}
