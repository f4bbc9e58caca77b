"""How many weights every tensor keeps under one budget."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, prod
from typing import Literal

from stream_prune.errors import ConfigError

Spread = Literal["uniform", "erk"]


def kept_weights(
    shapes: Mapping[str, tuple[int, ...]], density: float, spread: Spread
) -> dict[str, int]:
    """Kept weights per tensor; they add up to ``floor(density x all weights)``, to the weight.

    "uniform" gives every tensor the same density. "erk" (Erdos-Renyi-kernel) gives a tensor the
    density ``e * sum(shape) / prod(shape)``, so that small and narrow layers keep more; what would
    exceed 1 stays whole, and e is found anew for the rest. Every tensor keeps at least one weight.

    Source: Evci et al., Rigging the Lottery (arXiv 1911.11134), section 3; Mocanu et al., SET
    (arXiv 1707.04780).

    Args:
        shapes: of the masked tensors, by name.
        density: kept share of all their weights together, in (0, 1].
        spread: "uniform" or "erk".

    Raises:
        ConfigError: the budget is out of range, or below one weight per tensor.

    >>> kept_weights({"wide": (40, 100), "out": (1, 40)}, density=0.1, spread="erk")
    {'wide': 364, 'out': 40}
    >>> kept_weights({"wide": (40, 100), "out": (1, 40)}, density=0.1, spread="uniform")
    {'wide': 400, 'out': 4}
    """
    if not 0 < density <= 1:
        raise ConfigError(f"density = {density}: must be in (0, 1]")
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    # 0.29 * 100 is 28.999999999999996
    total = floor(round(density * sum(sizes.values()), 6))
    if total < len(sizes):
        raise ConfigError(
            f"density = {density}: leaves {total} of {sum(sizes.values())} weights to "
            f"{len(sizes)} tensors, and each needs at least one; raise it"
        )
    if spread == "uniform":
        return _share_out(total, sizes, sizes)
    return _share_out(total, sizes, {name: sum(shape) for name, shape in shapes.items()})


def _share_out(total: int, sizes: Mapping[str, int], claims: Mapping[str, int]) -> dict[str, int]:
    """``total`` in proportion to the claims, none above its size and none at zero."""
    free, left, counts = dict(claims), total, dict[str, int]()
    while full := [n for n, c in free.items() if left * c >= sizes[n] * sum(free.values())]:
        for name in full:
            counts[name] = sizes[name]
            left -= sizes[name]
            del free[name]
    claimed = sum(free.values())
    counts.update({name: left * claim // claimed for name, claim in free.items()})
    remainders = sorted(free, key=lambda name: -(left * free[name] % claimed))
    for name in remainders[: total - sum(counts.values())]:
        counts[name] += 1
    for name in [name for name, count in counts.items() if count == 0]:
        counts[max(counts, key=lambda other: counts[other])] -= 1
        counts[name] = 1
    return {name: counts[name] for name in sizes}
