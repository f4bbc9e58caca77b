"""Groups: which slices of which tensors together are one prunable unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Member:
    """Where the units of a group live in one tensor.

    Attributes:
        param: the tensor's name in the model (a parameter or a buffer).
        axis: the axis that the units lie along.
        positions: int64 [units, k]: unit ``u`` owns the indices ``positions[u]`` of that axis:
            one for a plain layer, a block after a flatten, a shifted one after a concatenation.
    """

    param: str
    axis: int
    positions: Tensor


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can only be removed together from all the tensors they live in.

    Attributes:
        name: the layer that produces the units; of a whole module its name.
        units: how many there are in the full model.
        produced: what computes a unit's activation (weights, biases, batch-norm statistics).
        consumed: the weights that read a unit's activation; a unit is *masked* by zeroing these.
        exact: nothing between producer and consumers mixes units (proven on an example).
        follows: integer attributes of modules that follow the width, with what a unit counts:
            ("attention.num_heads", 1), ("attention.all_head_size", 16).
        whole: the module ``name`` as a whole is the only unit (:mod:`.whole`). Removed, it is not
            run: its products are gone, its tensors stay as they are.
    """

    name: str
    units: int
    produced: tuple[Member, ...]
    consumed: tuple[Member, ...]
    exact: bool = False
    follows: tuple[tuple[str, int], ...] = ()
    whole: bool = False

    @property
    def members(self) -> tuple[Member, ...]:
        return self.produced + self.consumed


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer of a model, tied ones under each of their names."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def owner(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds the tensor or attribute ``name``, and its name there."""
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf
