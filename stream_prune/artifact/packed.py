"""Tensors at rest as a bit for every weight and the values that are not zero; read without torch.

Masks make no product cheaper; what they do is make a model small on disk and on the way to where it
serves. The head's matrices that are mostly zero are packed into ``head.safetensors``, the graph
names them without their bytes, and the loader puts them together again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from stream_prune.artifact.format import HEAD
from stream_prune.errors import RunError

PARTS = ("bitmask", "values", "shape")
"""The parts of a packed tensor, as :func:`stream_prune.sparsity.elements.storage.pack` has them."""


@dataclass(frozen=True)
class PackedCard:
    """One packed tensor: where it belongs, and what it saves.

    Attributes:
        name: of the tensor in the head.
        initializers: its names in the graph.
        shape: of the tensor.
        kept: weights that are stored.
        bytes: what it takes on disk.
        bytes_saved: what it would take more if it were stored whole.
    """

    name: str
    initializers: Sequence[str]
    shape: Sequence[int]
    kept: int
    bytes: int
    bytes_saved: int


def part_name(tensor: str, part: str) -> str:
    """The name of a part of a packed tensor in ``head.safetensors``."""
    return f"{tensor}|{part}"


def read_packed(folder: Path, cards: Sequence[PackedCard]) -> dict[str, npt.NDArray[np.float32]]:
    """The packed tensors of an artifact, whole again, by their names.

    Raises:
        RunError: the file can't be read, or does not hold what the model card says.
    """
    path = folder / HEAD
    try:
        with safe_open(path, framework="numpy") as file:
            found = {
                card.name: {part: file.get_tensor(part_name(card.name, part)) for part in PARTS}
                for card in cards
            }
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    return {card.name: _unpack(path, card, found[card.name]) for card in cards}


def _unpack(path: Path, card: PackedCard, parts: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    shape, count = tuple(card.shape), prod(card.shape)
    bits, values = parts["bitmask"], parts["values"]
    whole = np.zeros(count, np.float32)
    if (
        tuple(parts["shape"].tolist()) != shape
        or (bits.dtype, bits.shape) != (np.uint8, (-(-count // 8),))
        or (values.dtype, values.shape) != (np.float32, (card.kept,))
    ):
        raise RunError(f"{path}: {card.name!r}: there is no packed {shape} tensor of {card.kept}")
    kept = np.unpackbits(bits, bitorder="little").astype(np.bool_)
    if int(kept.sum()) != card.kept or kept[count:].any():
        raise RunError(
            f"{path}: {card.name!r}: its bits do not keep {card.kept} of {count} weights"
        )
    whole[kept[:count]] = values
    return whole.reshape(shape)
