"""A masked tensor at rest: a bit for every weight, and the values of the kept ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from stream_prune.errors import RunError
from stream_prune.sparsity.elements.bitmask import from_bits, to_bits

BITMASK, VALUES, SHAPE = "bitmask", "values", "shape"


def pack(tensor: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Three plain tensors, as safetensors can hold them; for n weights of which k are kept
    n / 8 bytes + k values + 8 bytes per axis.

    Args:
        tensor: n weights in any shape; zero wherever ``mask`` is False.
        mask: bool of the tensor's shape.

    Returns:
        On the CPU: "bitmask" uint8 [ceil(n / 8)], "values" [k] of the tensor's type in row-major
        order, "shape" int64 [axes].

    Raises:
        RunError: a weight outside of the mask is not zero and would be lost.

    >>> parts = pack(torch.tensor([[0.0, 2.0], [3.0, 0.0]]), torch.tensor([[0, 1], [1, 0]]).bool())
    >>> parts["bitmask"], parts["values"]
    (tensor([6], dtype=torch.uint8), tensor([2., 3.]))
    """
    live = tensor.detach()
    lost = int(live.masked_fill(mask, 0.0).count_nonzero())
    if lost:
        raise RunError(f"pack: {lost} weights outside of the mask are not zero and would be lost")
    return {
        BITMASK: to_bits(mask),
        VALUES: live[mask].cpu(),
        SHAPE: torch.tensor(live.shape, dtype=torch.int64),
    }


def unpack(parts: Mapping[str, Tensor]) -> Tensor:
    """The inverse of :func:`pack`: the dense tensor, +0 wherever nothing was kept.

    Raises:
        RunError: a part is missing, or the parts do not belong together.
    """
    missing = [name for name in (BITMASK, VALUES, SHAPE) if name not in parts]
    if missing:
        raise RunError(f"unpack: {', '.join(missing)} is missing")
    values = parts[VALUES]
    mask = from_bits(parts[BITMASK], parts[SHAPE].tolist())
    kept = int(mask.sum())
    if tuple(values.shape) != (kept,):
        raise RunError(f"unpack: the bitmask keeps {kept} weights, values are {len(values)}")
    dense = torch.zeros(mask.shape, dtype=values.dtype)
    dense[mask] = values.cpu()
    return dense
