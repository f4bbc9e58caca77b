"""Packs the head's matrices that are mostly zero: the torch side of :mod:`.packed`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stream_prune.artifact.packed import PackedCard
from stream_prune.sparsity.elements.storage import pack

HEADER_BYTES = 512
"""What three parts take more than one tensor in a file's header: less is not worth packing."""


def pack_matrices(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The parts of every float32 matrix of ``state`` that is smaller packed, by its name.

    Every weight with a bit set is kept (-0 is one): unpacked, it is the same to the last bit.
    """
    found = {}
    for name, tensor in state.items():
        if tensor.dtype == torch.float32 and tensor.dim() >= 2:
            parts = pack(tensor, tensor.view(torch.int32) != 0)
            if _bytes(*parts.values()) + HEADER_BYTES < _bytes(tensor):
                found[name] = parts
    return found


def card_of(
    name: str, tensor: Tensor, parts: Mapping[str, Tensor], initializers: Sequence[str]
) -> PackedCard:
    """What the model card says about a packed tensor."""
    size = _bytes(*parts.values())
    return PackedCard(
        name=name,
        initializers=tuple(initializers),
        shape=tuple(tensor.shape),
        kept=parts["values"].numel(),
        bytes=size,
        bytes_saved=_bytes(tensor) - size,
    )


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
