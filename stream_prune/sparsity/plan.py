"""A plan: which units of every group are kept, and how many rows every table has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from stream_prune.sparsity.groups import Group


@dataclass(frozen=True)
class Plan:
    """What is kept, in the full model's coordinates; frozen and hashable.

    Attributes:
        units: per group the kept units, ascending.
        rows: per table its row capacity.

    >>> plan = Plan({"bottom.0": (0, 2)}, {"user": 100})
    >>> plan.widths["bottom.0"], plan.rows["user"]
    (2, 100)
    >>> Plan.from_dict(plan.to_dict()) == plan
    True
    """

    units: Mapping[str, tuple[int, ...]]
    rows: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kept in self.units.items():
            if list(kept) != sorted(set(kept)):
                raise ValueError(f"plan: {name}: kept units must ascend without repeats: {kept}")
        units = {name: tuple(int(unit) for unit in kept) for name, kept in self.units.items()}
        object.__setattr__(self, "units", MappingProxyType(units))
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    def __hash__(self) -> int:
        return hash((tuple(sorted(self.units.items())), tuple(sorted(self.rows.items()))))

    def __reduce__(self) -> tuple[type[Plan], tuple[dict[str, tuple[int, ...]], dict[str, int]]]:
        return Plan, (dict(self.units), dict(self.rows))  # copies; a proxy cannot be copied

    @property
    def widths(self) -> dict[str, int]:
        """Number of kept units per group."""
        return {name: len(kept) for name, kept in self.units.items()}

    def density(self, groups: Iterable[Group]) -> dict[str, float]:
        """Kept share of every group's units."""
        return {group.name: len(self.units[group.name]) / group.units for group in groups}

    def to_dict(self) -> dict[str, Any]:
        return {
            "units": {name: list(kept) for name, kept in self.units.items()},
            "rows": dict(self.rows),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        return cls({name: tuple(kept) for name, kept in values["units"].items()}, values["rows"])

    @classmethod
    def full(cls, groups: Iterable[Group], rows: Mapping[str, int] | None = None) -> Plan:
        """The plan that keeps everything."""
        return cls({group.name: tuple(range(group.units)) for group in groups}, rows or {})
