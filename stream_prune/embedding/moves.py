"""What has to move with the ids: vectors and optimizer state, between rows and a waiting room."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.prefetch import AHEAD, prefetch

F32 = npt.NDArray[np.float32]

_NONE = np.empty(0, np.int64)


class Moves(NamedTuple):
    """Rows that change hands; everything is read before anything is written.

    Attributes:
        fresh: flat rows [n] with a new owner.
        origin: what each starts as [n]: a cold row, or -1 - slot of the waiting room.
        left: flat rows [m] whose vectors go to the waiting room; those of others are forgotten.
        slots: the slots [m] in which they wait.
    """

    fresh: I64
    origin: I64
    left: I64 = _NONE
    slots: I64 = _NONE


class Relayout(NamedTuple):
    """Rows of a new layout.

    Attributes:
        moved, to: flat rows of everything that stays, before and after.
        left, slots: as in :class:`Moves`, rows of before.
    """

    moved: I64
    to: I64
    left: I64
    slots: I64


def move(moves: Moves, rows: Tensor, room: Tensor, cold: bool) -> None:
    """Let a tensor [V] or [V, D] and what of it waits [W] or [W, D] follow the ids.

    Args:
        cold: a row of somebody new starts as its cold row; False: at zero (optimizer state).
    """
    if not moves.fresh.size:
        return
    if rows.device.type != "cpu":
        _move_elsewhere(moves, rows, room, cold)
        return
    vectors, waiting = rows.numpy(), room.numpy()
    if vectors.ndim == 1:
        vectors, waiting = vectors[:, None], waiting[:, None]
    _move(moves.fresh, moves.origin, moves.left, moves.slots, vectors, waiting, cold)


@torch.no_grad()
def _move_elsewhere(moves: Moves, rows: Tensor, room: Tensor, cold: bool) -> None:
    device = rows.device
    new = moves.origin >= 0
    fresh = torch.from_numpy(moves.fresh[new]).to(device)
    back = torch.from_numpy(moves.fresh[~new]).to(device)
    returning = room.index_select(0, torch.from_numpy(-1 - moves.origin[~new]).to(device))
    leave(moves.left, moves.slots, rows, room)
    if cold:
        origin = torch.from_numpy(moves.origin[new]).to(device)
        rows.index_copy_(0, fresh, rows.index_select(0, origin))
    else:
        rows.index_fill_(0, fresh, 0.0)
    rows.index_copy_(0, back, returning)


@compiled
def _move(fresh: I64, origin: I64, left: I64, slots: I64, rows: F32, room: F32, cold: bool) -> None:
    """The same in one loop: cold rows are not written, so only what waits has to be kept aside."""
    returning = np.empty((int(np.sum(origin < 0)), rows.shape[1]), np.float32)
    back = 0
    for i in range(fresh.size):
        if origin[i] < 0:
            returning[back] = room[-1 - origin[i]]
            back += 1
    for i in range(left.size):
        room[slots[i]] = rows[left[i]]
    back = 0
    for i in range(fresh.size):
        if i + AHEAD < fresh.size:
            prefetch(rows, fresh[i + AHEAD] * rows.shape[1])
        if origin[i] < 0:
            rows[fresh[i]] = returning[back]
            back += 1
        elif cold:
            rows[fresh[i]] = rows[origin[i]]
        else:
            rows[fresh[i]] = 0.0


@torch.no_grad()
def leave(left: I64, slots: I64, rows: Tensor, room: Tensor) -> None:
    """Copy rows to the slots in which they wait."""
    if left.size:
        vectors = rows.index_select(0, torch.from_numpy(left).to(rows.device))
        room.index_copy_(0, torch.from_numpy(slots).to(rows.device), vectors)
