"""Masks at rest: one bit per weight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from stream_prune.errors import RunError


def to_bits(mask: Tensor) -> Tensor:
    """Eight entries a byte, row-major, the first in the lowest bit, the last byte filled with 0.

    Args:
        mask: bool, n entries in any shape.

    Returns:
        uint8 [ceil(n / 8)] on the CPU.

    >>> to_bits(torch.tensor([[True, False, True], [False, False, True]]))
    tensor([37], dtype=torch.uint8)
    """
    flat = mask.detach().reshape(-1).to("cpu", torch.uint8)
    padded = torch.zeros(-(-len(flat) // 8) * 8, dtype=torch.uint8)
    padded[: len(flat)] = flat
    return (padded.view(-1, 8) << _PLACES).sum(dim=1, dtype=torch.uint8)


def from_bits(bits: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of :func:`to_bits`: bool of the given shape, on the CPU.

    Raises:
        RunError: they are not the bits of a mask of this shape.

    >>> from_bits(torch.tensor([37], dtype=torch.uint8), (2, 3))
    tensor([[ True, False,  True],
            [False, False,  True]])
    """
    entries = prod(shape)
    if bits.dtype != torch.uint8 or tuple(bits.shape) != (-(-entries // 8),):
        raise RunError(
            f"bitmask: {bits.dtype} {tuple(bits.shape)} is no mask of {tuple(shape)}, which is "
            f"torch.uint8 ({-(-entries // 8)},)"
        )
    flat = ((bits.cpu()[:, None] >> _PLACES) & 1).view(-1).bool()
    if bool(flat[entries:].any()):
        raise RunError(f"bitmask: it has bits beyond the {entries} entries of {tuple(shape)}")
    return flat[:entries].view(tuple(shape))


_PLACES = torch.arange(8, dtype=torch.uint8)
